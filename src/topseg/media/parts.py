"""Parts: the connected parts of a class in a mask (8 neighbours), which stand for objects."""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask
from topseg.media.histogram import count_values

SIZES: Final = {"small": 32**2, "medium": 96**2, "large": math.inf}
"""Name -> the area in pixels that an object is below (COCO,
https://cocodataset.org/#detection-eval)."""

Window = tuple[slice, slice]


def find_parts(mask: Mask, index: int) -> tuple[int, NDArray[Any], Window]:
    """Number the connected parts of a class.

    Args:
        mask: (H, W) class indices.
        index: The class, of which there is a pixel.

    Returns:
        How many numbers there are (parts and 0); the numbers, 0 outside of all parts, in the
        smallest window that holds the class; that window.
    """
    inside = (mask == index).view(np.uint8)
    left, top, width, height = cv2.boundingRect(inside)
    window = (slice(top, top + height), slice(left, left + width))
    # In 16 bits where no image of the size has more parts. Statistics of OpenCV's own take several
    # times as long.
    kind = cv2.CV_16U if (height + 1) * (width + 1) < 4 * 65535 else cv2.CV_32S
    count, parts = cv2.connectedComponents(inside[window], connectivity=8, ltype=kind)
    return count, np.asarray(parts), window


def count_parts(parts: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Count the pixels of each part, (count - 1,).

    Args:
        parts: The numbers, as ``find_parts`` returns them.
        count: How many numbers there are.
    """
    if parts.dtype == np.uint16:
        return count_values(parts, count)[1:]
    return np.bincount(parts.ravel(), minlength=count)[1:]


def count_hits(
    parts: NDArray[Any], count: int, hits: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels of each part, and those that are hit, (count - 1,) each.

    Args:
        parts: The numbers, as ``find_parts`` returns them.
        count: How many numbers there are.
        hits: Of the shape of ``parts``.
    """
    if parts.dtype == np.uint16 and 2 * count <= 65535:  # both in one pass
        both = count_values(cv2.add(parts, parts) + hits, 2 * count).reshape(count, 2)[1:]
        return both.sum(axis=1), both[:, 1]
    return count_parts(parts, count), np.bincount(parts[hits], minlength=count)[1:]


def size_of(areas: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each area the place of its name in ``SIZES``."""
    return np.searchsorted(list(SIZES.values()), areas, side="right")
