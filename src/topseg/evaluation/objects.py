"""Objects: how much of the small, the medium and the large ones is found.

An object is a connected part of a class in the truth (8 neighbours). The limits are those of COCO:
32 x 32 and 96 x 96 pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from topseg.core.labels import Mask
from topseg.evaluation.accumulator import State
from topseg.inference.tta import Logits
from topseg.media.histogram import count_values
from topseg.media.parts import SIZES, count_hits, find_parts, size_of


class ObjectRecall:
    """An accumulator of objects by size.

    Attributes:
        sums: (3, sizes) float64: objects, their recalls, and how many have at least half of their
            pixels right.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums = np.zeros((3, len(SIZES)))
        self._num_classes = num_classes

    def update(self, truth: Mask, mask: Mask, logits: Logits | None = None) -> None:
        """Count one image."""
        right = truth == mask
        for index in np.flatnonzero(count_values(truth, self._num_classes)):
            count, parts, window = find_parts(truth, int(index))
            area, hits = count_hits(parts, count, right[window])
            recall = hits / area
            size = size_of(area)
            for row, weights in enumerate((np.ones(len(area)), recall, recall >= 0.5)):
                self.sums[row] += np.bincount(size, weights, len(SIZES))

    def state(self) -> State:
        """Return the sums, which add up."""
        return {"sums": self.sums}

    def merge(self, state: State) -> None:
        """Add another's sums."""
        self.sums += state["sums"]

    def scores(self) -> dict[str, Any]:
        """Return for each size: objects, their mean recall, and the share found by half."""
        return {
            "objects": {
                name: {
                    "count": int(count),
                    "recall": float(recall / count) if count else math.nan,
                    "found": float(found / count) if count else math.nan,
                }
                for name, count, recall, found in zip(SIZES, *self.sums, strict=True)
            }
        }
