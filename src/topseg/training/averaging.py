"""Averaging: one model from several of the same kind, at the cost of one.

The plain mean of weights and batch-norm statistics: of the best evaluations of a run (as stochastic
weight averaging does, Izmailov et al., https://arxiv.org/abs/1803.05407), or of runs that started
from the same weights (model soups, Wortsman et al., https://arxiv.org/abs/2203.05482). Models that
started from different random weights have no meaningful mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from topseg.bundle.bundle import Bundle, read_bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS
from topseg.core.errors import InputError
from topseg.inference.hub import open_model
from topseg.training.checkpoint import new_folder, write_tensors


def average_models(models: Sequence[str | Path], out: Path) -> Bundle:
    """Write the mean of several models as a bundle.

    Args:
        models: MODELs with the same network and classes; of a run that keeps its best evaluations
            (``train.keep_best``) all of those are taken.
        out: The bundle to make.

    Returns:
        The bundle; it has no scores yet, ``topseg evaluate`` measures them.

    Raises:
        InputError: Fewer than two models, or models that differ in more than their weights.
    """
    bundles = [bundle for model in models for bundle in _bundles(model)]
    if len(bundles) < 2:
        raise InputError(
            f"average: got {len(bundles)} model, expected two or more, or a run that was trained "
            "with train.keep_best above 1"
        )
    if out.exists():
        raise InputError(f"{out}: exists already; give another name")
    first = bundles[0].metadata
    for bundle in bundles[1:]:
        for key in ("architecture", "classes", "input", "resize"):
            one, other = getattr(first, key), getattr(bundle.metadata, key)
            if one != other:
                raise InputError(
                    f"average: {bundle.folder} and {bundles[0].folder} differ in their {key}; "
                    "only models of the same network, classes and pre-processing have a mean"
                )
    weights = [load_file(bundle.weights) for bundle in bundles]
    mean = {
        name: torch.stack([one[name].double() for one in weights]).mean(0).to(tensor.dtype)
        for name, tensor in weights[0].items()
    }
    metadata = dataclasses.replace(
        first,
        weights=WEIGHTS,
        graphs={},
        metrics={},
        origin=f"mean of {', '.join(_name(bundle) for bundle in bundles)}",
    )
    with new_folder(out) as new:
        write_tensors(new / WEIGHTS, mean)
        write_metadata(new, metadata)
    return read_bundle(out)


def _bundles(model: str | Path) -> list[Bundle]:
    top = sorted((Path(model) / "top").glob("step_*"))
    return [open_model(folder) for folder in top] or [open_model(model)]


def _name(bundle: Bundle) -> str:
    return "/".join(bundle.folder.resolve().parts[-3:])
