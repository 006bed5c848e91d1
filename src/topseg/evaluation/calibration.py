"""Calibration: whether a probability of 0.8 is right in 80 % of the pixels.

Expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599): pixels are put into
bins of equal width by the probability of their class, and the difference of mean probability and
share of right pixels is averaged over the bins, weighted by their pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from topseg.core.errors import InputError
from topseg.core.labels import Mask
from topseg.evaluation.accumulator import State
from topseg.inference.tta import Logits
from topseg.inference.upsample import upsample_argmax_probability
from topseg.media.histogram import count_tuples, sum_values


class Calibration:
    """An accumulator of probabilities.

    Attributes:
        sums: (3, bins) float64: pixels, their probabilities, and how many of them are right.
    """

    def __init__(self, ignore_index: int, bins: int = 15, threads: int = 1) -> None:
        self.sums = np.zeros((3, bins))
        self._ignore_index, self._threads = ignore_index, threads

    def update(self, truth: Mask, mask: Mask, logits: Logits | None) -> None:
        """Count one image.

        Raises:
            InputError: There are no logits.
        """
        if logits is None:
            raise InputError("calibration: this protocol has no logits; take the protocol direct")
        size = (truth.shape[0], truth.shape[1])
        probability = upsample_argmax_probability(logits, size, self._threads)[1]
        bins = self.sums.shape[1]
        # Bins are open at their lower end, as the paper has them; bin 0 takes what does not count.
        edges = np.ceil(probability * np.float32(bins))
        index = np.clip(edges, 1, bins, out=edges).astype(np.uint8 if bins < 255 else np.uint16)
        index[truth == self._ignore_index] = 0
        chances = sum_values(index, probability, bins + 1)
        right = (truth == mask).astype(index.dtype)
        counts = count_tuples((index, right), (bins + 1, 2))[1:]
        self.sums += np.stack([counts.sum(axis=1), chances[1:], counts[:, 1]])

    def state(self) -> State:
        """Return the sums, which add up."""
        return {"sums": self.sums}

    def merge(self, state: State) -> None:
        """Add another's sums."""
        self.sums += state["sums"]

    def scores(self) -> dict[str, Any]:
        """Return the error and, for each bin with pixels: pixels, confidence, accuracy."""
        pixels, chances, right = self.sums
        total = pixels.sum()
        return {
            "ece": float(np.abs(chances - right).sum() / total) if total else math.nan,
            "reliability": [
                {"pixels": int(n), "confidence": float(c / n), "accuracy": float(r / n)}
                for n, c, r in zip(pixels, chances, right, strict=True)
                if n
            ],
        }
