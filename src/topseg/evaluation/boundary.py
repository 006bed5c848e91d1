"""Scores near contours: Boundary IoU, and the mean IoU within a trimap.

Boundary IoU (Cheng et al. 2021, https://arxiv.org/abs/2103.16562): each mask is reduced to its
pixels within a distance d of its own contour, the image's border being a contour too, and the IoU
is that of what is left. It is counted class by class over all images. A trimap (Kohli et al. 2009,
https://doi.org/10.1007/s11263-008-0202-0) is the band around the contours of the truth alone, where
the usual IoU is counted. Distances are those of a chess king, as repeated 3x3 erosions make them.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask
from topseg.evaluation.accumulator import State
from topseg.evaluation.images import iou, miou
from topseg.inference.tta import Logits
from topseg.media.histogram import Bools, count_tuples, count_values

DILATION = 0.02
"""d as a share of the image's diagonal, as the paper has it."""
TRIMAPS = (2, 4, 8, 16)
"""Half widths of the bands in pixels, ascending."""


class BoundaryIoU:
    """Boundary IoU and trimap IoU of each class.

    Pixels that the truth ignores do not count: their prediction is ignored as well, so that both
    masks have the same contour around them; a trimap has no contour there.

    Attributes:
        counts: (1 + bands, 3, K) int64: intersection, predicted and truth; the first of Boundary
            IoU, the others of each trimap.
    """

    def __init__(
        self, num_classes: int, ignore_index: int, trimaps: tuple[int, ...] = TRIMAPS
    ) -> None:
        self.counts = np.zeros((1 + len(trimaps), 3, num_classes), np.int64)
        self._ignore_index, self._trimaps = ignore_index, trimaps

    def update(self, truth: Mask, mask: Mask, logits: Logits | None = None) -> None:
        """Count one image."""
        valid = truth != self._ignore_index
        if not valid.all():
            mask = np.where(valid, mask, truth).astype(truth.dtype)
        K = self.counts.shape[2]
        right = truth == mask
        # Boundary IoU: each mask by its own band.
        distance = max(1, round(DILATION * math.hypot(*truth.shape)))
        ours, theirs = _inner_band(truth, distance) & valid, _inner_band(mask, distance) & valid
        hits = (theirs & right).astype(truth.dtype)
        self._add(self.counts[0], count_tuples((truth, hits), (K, 2), ours))
        self.counts[0, 1] += count_values(mask, K, theirs)
        # Trimaps: the bands lie in each other, so each pixel counts in its narrowest and beyond.
        bands = len(self._trimaps)
        level = self._levels(truth)
        near = level < bands
        planes = (level, truth, right.astype(truth.dtype))
        counts = count_tuples(planes, (bands, K, 2), near).cumsum(axis=0)
        self._add(self.counts[1:], counts)
        self.counts[1:, 1] += count_tuples((level, mask), (bands, K), near).cumsum(axis=0)

    @staticmethod
    def _add(counts: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        """Add (..., K, missed and hit) pixels of the truth to (..., 3, K)."""
        counts[..., 0, :] += found[..., 1]
        counts[..., 2, :] += found.sum(axis=-1)

    def state(self) -> State:
        """Return the counts, which add up."""
        return {"counts": self.counts}

    def merge(self, state: State) -> None:
        """Add another's counts."""
        self.counts += state["counts"]

    def scores(self) -> dict[str, Any]:
        """Return the mean Boundary IoU, that of each class, and the mean IoU of each trimap."""
        boundary, *trimaps = miou(self.counts).tolist()
        return {
            "boundary_iou": boundary,
            "class_boundary_iou": iou(self.counts[0]),
            "trimap_miou": dict(zip(self._trimaps, trimaps, strict=True)),
        }

    def _levels(self, truth: Mask) -> Mask:
        """Return for each pixel how many bands it lies outside of; 255 where it is ignored.

        A band holds the pixels with another class than theirs within so many pixels.
        """
        ignored = truth == self._ignore_index  # the largest value: no minimum, and 0 no maximum
        low, high = truth, np.where(ignored, 0, truth).astype(truth.dtype)
        level, reach = np.zeros(truth.shape, truth.dtype), 0
        for width in self._trimaps:  # a window grows by steps as well as at once
            kernel = np.ones((2 * (width - reach) + 1,) * 2, np.uint8)
            low, high = np.asarray(cv2.erode(low, kernel)), np.asarray(cv2.dilate(high, kernel))
            level += low == high
            reach = width
        level[ignored] = 255
        return level


def _inner_band(mask: Mask, distance: int) -> Bools:
    """Return the pixels of each class within a distance of its contour, for all classes at once.

    A pixel is further inside where the whole window around it has one value; a window that reaches
    over the image's border never has.
    """
    kernel = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    largest = int(np.iinfo(mask.dtype).max)
    constant = cv2.BORDER_CONSTANT
    low = cv2.erode(mask, kernel, borderType=constant, borderValue=0)
    high = cv2.dilate(mask, kernel, borderType=constant, borderValue=largest)
    return np.asarray(low != high, np.bool_)
