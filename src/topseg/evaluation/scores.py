"""Scores: integer counts over a whole data set first, every score from them at the end.

Scores are never averaged over images: a class's IoU is the ratio of its pixels over all images
(Everingham et al., https://doi.org/10.1007/s11263-009-0275-4). A class that is neither in the truth
nor in the predictions has no IoU; it is left out of the mean and counted in ``absent``. Counting as
the reference does (PaddleSeg ``utils/metrics.py``) gives such a class an IoU of 1 instead.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topseg.evaluation.confusion import ConfusionMatrix, Counts

if TYPE_CHECKING:
    from rich.table import Table

Ratios = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Scores:
    """How good the masks are, derived from the counts.

    A ratio of nothing to nothing is nan, and null in JSON.

    Attributes:
        names: K class names.
        confusion: The counts.
        images: How many images were counted.
        absent_as_right: Whether a class that is neither in the truth nor predicted has IoU 1 (and 0
            for the other ratios) in the means, instead of being left out.
        protocol: In words, how the masks were made and at which size they were compared.
    """

    names: tuple[str, ...]
    confusion: ConfusionMatrix
    images: int = 0
    absent_as_right: bool = False
    protocol: str = "original resolution"

    @functools.cached_property
    def iou(self) -> Ratios:
        """(K,) intersection over union."""
        hits = self.confusion.intersection
        union = self.confusion.predicted + self.confusion.truth - hits
        return self._ratio(hits, union, empty=1.0)

    @functools.cached_property
    def precision(self) -> Ratios:
        """(K,) share of the pixels given to the class that are of the class."""
        return self._ratio(self.confusion.intersection, self.confusion.predicted)

    @functools.cached_property
    def recall(self) -> Ratios:
        """(K,) share of the class's pixels that were given to it, also called class accuracy."""
        return self._ratio(self.confusion.intersection, self.confusion.truth)

    @functools.cached_property
    def class_dice(self) -> Ratios:
        """(K,) Dice coefficient, also called F1."""
        area = self.confusion.predicted + self.confusion.truth
        return self._ratio(2 * self.confusion.intersection, area)

    def __repr__(self) -> str:
        classes, images = len(self.names), _some(self.images, "image")
        return f"Scores(mIoU {_percent(self.miou)} %, {classes} classes, {images})"

    @property
    def miou(self) -> float:
        """Mean IoU, the field's headline."""
        return _mean(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """Mean recall over the classes that are in the truth."""
        return _mean(self.recall)

    @property
    def dice(self) -> float:
        """Mean Dice coefficient."""
        return _mean(self.class_dice)

    @property
    def accuracy(self) -> float:
        """Share of all pixels that were given to their own class."""
        return _divide(int(self.confusion.intersection.sum()), self.pixels)

    @property
    def frequency_weighted_iou(self) -> float:
        """IoU weighted by each class's share of the truth."""
        weights = self.confusion.truth / max(self.pixels, 1)
        seen = weights > 0
        return float(weights[seen] @ self.iou[seen]) if seen.any() else math.nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the class shares alone would give."""
        predicted, truth = self.confusion.predicted, self.confusion.truth
        total = float(self.pixels)
        chance = _divide(float(predicted.astype(np.float64) @ truth.astype(np.float64)), total**2)
        return _divide(self.accuracy - chance, 1 - chance)

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self.confusion.truth.sum())

    @property
    def absent(self) -> int:
        """How many classes are neither in the truth nor in the predictions."""
        return int(((self.confusion.truth == 0) & (self.confusion.predicted == 0)).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        summary = {name: _plain(getattr(self, name)) for name in _SUMMARY}
        columns = {name: getattr(self, attribute) for name, attribute in _COLUMNS.items()}
        classes = [
            {
                "name": name,
                **{column: _plain(values[i]) for column, values in columns.items()},
                "truth_pixels": int(self.confusion.truth[i]),
                "predicted_pixels": int(self.confusion.predicted[i]),
            }
            for i, name in enumerate(self.names)
        ]
        return {
            "protocol": self.protocol,
            **summary,
            "images": self.images,
            "pixels": self.pixels,
            "absent_classes": self.absent,
            "classes": classes,
        }

    def table(self) -> Table:
        """Return a table for the terminal in percent: one line per class, and the means."""
        from rich.table import Table

        table = Table()
        table.add_column("class", overflow="fold")
        for name in _TABLE[1:]:
            table.add_column(name, justify="right")
        *classes, means = self._rows()
        for row in classes:
            table.add_row(*row)
        table.add_section()
        table.add_row(*means)
        return table

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table."""

        def line(cells: Iterable[str], tag: str) -> str:
            return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

        rows = [line(_TABLE, "th"), *(line(row, "td") for row in self._rows())]
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"

    def _rows(self) -> list[list[str]]:
        """Return the cells of the table: each class, then the means."""
        columns = [getattr(self, attribute) for attribute in _COLUMNS.values()]
        shares = self.confusion.truth / max(self.pixels, 1)
        rows = [
            [name, *(_percent(values[i]) for values in columns), _percent(shares[i])]
            for i, name in enumerate(self.names)
        ]
        return [*rows, ["mean", *(_percent(_mean(values)) for values in columns), ""]]

    def summary(self) -> str:
        """Return the headline in two lines."""
        how = "counted with IoU 1" if self.absent_as_right else "left out of the means"
        absent = f"; {_some(self.absent, 'absent class')} {how}" if self.absent else ""
        return (
            f"mIoU {_percent(self.miou)}  accuracy {_percent(self.accuracy)}  "
            f"mean accuracy {_percent(self.mean_accuracy)}  Dice {_percent(self.dice)}  "
            f"kappa {self.kappa:.4f}  fwIoU {_percent(self.frequency_weighted_iou)}\n"
            f"{_some(self.images, 'image')}, {self.protocol}{absent}"
        )

    def _ratio(self, part: Counts, whole: Counts, empty: float = 0.0) -> Ratios:
        nothing = empty if self.absent_as_right else math.nan
        out = np.full(len(part), nothing)
        np.divide(part, whole, out=out, where=whole > 0)
        return out


_SUMMARY = ("miou", "accuracy", "mean_accuracy", "dice", "kappa", "frequency_weighted_iou")
_COLUMNS = {"iou": "iou", "precision": "precision", "recall": "recall", "dice": "class_dice"}
_TABLE = ("class", "IoU", "precision", "recall", "Dice", "of truth")


def _mean(ratios: Ratios) -> float:
    """Mean over the classes that have the ratio."""
    defined = ratios[~np.isnan(ratios)]
    return float(defined.mean()) if defined.size else math.nan


def _divide(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _some(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else plural}"
