"""Images: each image's own counts, for tables of images and for intervals by resampling."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask
from topseg.evaluation.accumulator import State
from topseg.inference.tta import Logits
from topseg.media.histogram import count_tuples, count_values

Counts = NDArray[np.int64]


class PerImage:
    """An accumulator that keeps three vectors for each image, in the order of the images.

    Attributes:
        counts: For each image (3, K): intersection, predicted, truth.
    """

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self.counts: list[Counts] = []
        self._num_classes, self._ignore_index = num_classes, ignore_index

    def update(self, truth: Mask, mask: Mask, logits: Logits | None = None) -> None:
        """Count one image."""
        valid, classes = truth != self._ignore_index, self._num_classes
        found = count_tuples((truth, (truth == mask).astype(truth.dtype)), (classes, 2))
        predicted = count_values(mask, classes, valid)
        self.counts.append(np.stack([found[:, 1], predicted, found.sum(axis=1)]))

    def stacked(self) -> Counts:
        """Return (images, 3, K)."""
        return np.array(self.counts, np.int64).reshape(-1, 3, self._num_classes)

    def state(self) -> State:
        """Return the counts of all images."""
        return {"counts": self.stacked()}

    def merge(self, state: State) -> None:
        """Put another's images behind these."""
        self.counts += list(state["counts"])

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Return each image's mean IoU and share of right pixels (nan: of nothing)."""
        counts = self.stacked()
        return {"miou": miou(counts), "accuracy": accuracy(counts)}

    def to_csv(self, images: Sequence[str], classes: Sequence[str]) -> str:
        """Return a table of images: name, mIoU, accuracy, labelled pixels, IoU of each class.

        Args:
            images: Names, in the order of the counts.
            classes: K names.
        """
        counts, text = self.stacked(), io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["image", "miou", "accuracy", "pixels", *classes])
        for name, one, mean, right in zip(images, counts, *self.scores().values(), strict=True):
            cells = [mean, right, *iou(one)]
            shown = ["" if np.isnan(cell) else f"{cell:.6f}" for cell in cells]
            table.writerow([name, *shown[:2], int(one[2].sum()), *shown[2:]])
        return text.getvalue()


def iou(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (..., K) IoU of (..., 3, K) counts; nan where there is nothing."""
    hits, predicted, truth = np.moveaxis(counts, -2, 0)
    union = predicted + truth - hits
    out = np.full(union.shape, np.nan)
    np.divide(hits, union, out=out, where=union > 0)
    return out


def miou(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (...) mean IoU of (..., 3, K) counts over the classes that are there."""
    ratios = iou(counts)
    seen = ~np.isnan(ratios)
    out = np.full(ratios.shape[:-1], np.nan)
    total = np.where(seen, ratios, 0).sum(axis=-1)
    np.divide(total, seen.sum(axis=-1), out=out, where=seen.any(axis=-1))
    return out


def accuracy(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (...) share of right pixels of (..., 3, K) counts."""
    right, labelled = counts[..., 0, :].sum(axis=-1), counts[..., 2, :].sum(axis=-1)
    out = np.full(np.shape(labelled), np.nan)
    np.divide(right, labelled, out=out, where=labelled > 0)
    return out
