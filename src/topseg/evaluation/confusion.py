"""Confusion matrix: how many pixels of each true class were given to each class, in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.evaluation.accumulator import State
from topseg.evaluation.images import accuracy, iou, miou
from topseg.inference.tta import Logits

Counts = NDArray[np.int64]

LARGEST_MATRIX = 4096
"""Up to so many classes the whole matrix is kept; above, three vectors, enough for every score."""


class ConfusionMatrix:
    """The first accumulator: integer counts, from which every score of :class:`Scores` follows.

    Attributes:
        num_classes: K.
        ignore_index: Value in a truth of pixels that do not count; None: all count.
        matrix: (K, K) counts, row = truth, column = prediction; None above 4,096 classes.
        intersection: (K,) pixels given to their own class.
        predicted: (K,) pixels given to the class.
        truth: (K,) pixels of the class.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.matrix: Counts | None = None
        if num_classes <= LARGEST_MATRIX:
            self.matrix = np.zeros((num_classes, num_classes), np.int64)
        else:
            self._vectors = np.zeros((3, num_classes), np.int64)

    @property
    def intersection(self) -> Counts:  # noqa: D102
        vector: Counts = self._vectors[0] if self.matrix is None else self.matrix.diagonal()
        return vector

    @property
    def predicted(self) -> Counts:  # noqa: D102
        vector: Counts = self._vectors[1] if self.matrix is None else self.matrix.sum(axis=0)
        return vector

    @property
    def truth(self) -> Counts:  # noqa: D102
        vector: Counts = self._vectors[2] if self.matrix is None else self.matrix.sum(axis=1)
        return vector

    def update(self, truth: NDArray[Any], mask: NDArray[Any], logits: Logits | None = None) -> None:
        """Count one or more masks.

        Args:
            truth: Class indices of any shape.
            mask: Predicted class indices of the same shape.
            logits: Not needed.

        Raises:
            InputError: The shapes differ, or a value that counts is no class.
        """
        if truth.shape != mask.shape:
            raise InputError(
                f"mask: got a truth of size {truth.shape} and a prediction of size "
                f"{mask.shape}, expected the same"
            )
        if self.ignore_index is not None:
            counts = truth != self.ignore_index
            truth, mask = truth[counts], mask[counts]
        truth, mask = truth.ravel(), mask.ravel()
        for what, values in (("truth", truth), ("prediction", mask)):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < self.num_classes:
                wrong = int(values.min()) if values.min() < 0 else int(values.max())
                ignored = "" if self.ignore_index is None else f" or {self.ignore_index} (ignored)"
                raise InputError(
                    f"mask: the {what} holds {wrong}, expected 0 to {self.num_classes - 1}"
                    f"{ignored}; check the class count and the label map"
                )
        K = self.num_classes
        if self.matrix is None:
            hits = truth[truth == mask]
            for vector, values in zip(self._vectors, (hits, mask, truth), strict=True):
                vector += np.bincount(values, minlength=K)
        else:
            pairs = truth.astype(np.int64) * K + mask
            self.matrix += np.bincount(pairs, minlength=K * K).reshape(K, K)

    def state(self) -> State:
        """Return the counts, (K, K) or (3, K); they add up over images and processes."""
        return {"counts": self._vectors if self.matrix is None else self.matrix}

    def merge(self, state: State) -> None:
        """Add another matrix's counts.

        Raises:
            InputError: The class counts differ.
        """
        mine, counts = self.state()["counts"], state["counts"]
        if mine.shape != counts.shape:
            raise InputError(
                f"confusion matrix: got {counts.shape[-1]} classes, expected {self.num_classes}"
            )
        mine += counts

    def scores(self) -> dict[str, Any]:
        """Return pixels, accuracy, mIoU and the IoU of each class (nan: of nothing)."""
        counts = np.stack([self.intersection, self.predicted, self.truth])
        return {
            "pixels": int(counts[2].sum()),
            "accuracy": float(accuracy(counts)),
            "miou": float(miou(counts)),
            "iou": iou(counts),
        }

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        total = ConfusionMatrix(self.num_classes, self.ignore_index)
        total.merge(self.state())
        total.merge(other.state())
        return total
