"""Objects: how much of the small, the medium and the large ones is found.

An object is a connected part of a class in the truth (8 neighbours). The limits are those of COCO
(https://cocodataset.org/#detection-eval): 32 x 32 and 96 x 96 pixels.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from topseg.core.labels import Mask
from topseg.evaluation.accumulator import State
from topseg.evaluation.histogram import count_values
from topseg.inference.tta import Logits

SIZES = {"small": 32**2, "medium": 96**2, "large": math.inf}
"""Name -> the area in pixels that an object is below."""


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
            inside = (truth == index).view(np.uint8)
            left, top, width, height = cv2.boundingRect(inside)
            box = (slice(top, top + height), slice(left, left + width))
            # In 16 bits where no image of the size has more parts. Statistics of OpenCV's own take
            # several times as long.
            few = (height + 1) * (width + 1) < 4 * 65535
            kind = cv2.CV_16U if few else cv2.CV_32S
            count, parts = cv2.connectedComponents(inside[box], connectivity=8, ltype=kind)
            if few:
                area = count_values(parts, count)[1:]
                hits = count_values(parts, count, right[box])[1:]
            else:
                area = np.bincount(parts.ravel(), minlength=count)[1:]
                hits = np.bincount(parts[right[box]], minlength=count)[1:]
            recall = hits / area
            size = np.searchsorted(list(SIZES.values()), area, side="right")
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
