"""Loading: weights from a file into a model, with an account of what fitted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topseg.core.errors import InputError
from topseg.interop.weights import COUNTER, read_weights
from topseg.models.family import BACKBONE

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]
SHOWN = 3  # names of a kind that a message spells out


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor, by published name (step counts of batch norms left out)."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    """In the model and not in the file: they kept their values."""
    unexpected: tuple[str, ...]
    """In the file and not in the model: they were left there."""
    misshaped: dict[str, tuple[Shape, Shape]]
    """In both, with another shape (in the file, in the model): they kept their values."""

    def __str__(self) -> str:
        shapes = [
            f"{name} (file {_x(file)}, model {_x(model)})"
            for name, (file, model) in self.misshaped.items()
        ]
        rest = [
            f"{len(names)} {word}: {_some(names)}"
            for word, names in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("of another shape", shapes),
            )
            if names
        ]
        return "; ".join([f"{len(self.matched)} tensors matched", *rest])


def load_weights(
    model: nn.Module,
    path: str | Path,
    *,
    allow_partial: bool = False,
    backbone_only: bool = False,
) -> LoadReport:
    """Load a weight file, of this project or another, into a model.

    The model's options stay as they were made, such as TopFormer's pooling: PaddleSeg's weights
    were trained with ``pool="fixed"``, those of the official code with ``pool="adaptive"``.

    Args:
        model: Any network. Where an error is raised it is as it was.
        path: ``.safetensors``, ``.pdparams``, ``.zip`` (ImageNet backbones), ``.pth`` or a bundle.
        allow_partial: Load what fits and leave the rest as it is, such as the class layer for
            another number of classes.
        backbone_only: Take the backbone alone, of which the file may have more or less than the
            model (ImageNet backbones have a classifier, and no injection).

    Raises:
        InputError: The file cannot be read, or it does not fit; the message says what does not.
    """
    import torch

    path = Path(path)
    weights = read_weights(path)
    state = model.state_dict()
    if backbone_only:
        state = {name: tensor for name, tensor in state.items() if name.startswith(BACKBONE)}
    both = [name for name in state if name in weights]
    pairs = {name: (weights[name].shape, tuple(state[name].shape)) for name in both}
    report = LoadReport(
        matched=tuple(n for n, (got, expected) in pairs.items() if got == expected and _shown(n)),
        missing=tuple(name for name in state if name not in weights and _shown(name)),
        unexpected=tuple(name for name in weights if name not in state and _shown(name)),
        misshaped={n: shapes for n, shapes in pairs.items() if shapes[0] != shapes[1]},
    )
    amiss = bool(report.misshaped)
    if not backbone_only:
        amiss = amiss or bool(report.missing or report.unexpected)
    if not report.matched or (amiss and not allow_partial):
        raise InputError(f"{path}: does not fit the model: {report}; {_remedy(report)}")
    with torch.no_grad():
        for name in pairs.keys() - report.misshaped.keys():
            state[name].copy_(torch.tensor(weights[name]))
    return report


def _shown(name: str) -> bool:
    return not name.endswith(COUNTER)


def _remedy(report: LoadReport) -> str:
    if classes := _class_counts(report):
        got, expected = classes
        return (
            f"the file has {got} classes and the model {expected}: build it with "
            f"num_classes={got}, or load all but the class layer with allow_partial "
            "(--allow-partial, or model.allow_partial=true in a recipe)"
        )
    if report.misshaped or not report.matched:
        return "is it of another network, another size of it, or another number of channels?"
    if not any(name.startswith(BACKBONE) for name in report.missing) and not report.unexpected:
        return "it is a backbone alone: take it as one (model.backbone_weights in a recipe)"
    return (
        "load what fits with allow_partial (--allow-partial, or model.allow_partial=true in a "
        "recipe)"
    )


def _class_counts(report: LoadReport) -> tuple[int, int] | None:
    """Return the classes of file and model, where they are all that differs.

    Then the weight and the bias of one layer do not fit, and those by their first side alone.
    """
    layers = {name.rpartition(".")[0] for name in report.misshaped}
    shapes = list(report.misshaped.values())
    if (
        len(layers) != 1
        or len(shapes) != 2
        or any(a[1:] != b[1:] or not (a and b) for a, b in shapes)
    ):
        return None
    return shapes[0][0][0], shapes[0][1][0]


def _some(names: Collection[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(list(names)[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _x(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
