"""Histograms: how often each value occurs, in integers and several times as fast as np.bincount."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask

Bools = NDArray[np.bool_]

_EXACT = 2**24
"""OpenCV counts in float32, which holds every integer up to here."""


def count_values(values: Mask, bins: int, where: Bools | None = None) -> NDArray[np.int64]:
    """Count the values below ``bins``.

    Args:
        values: (H, W) uint8 or uint16.
        bins: How many values there are, at most 65535.
        where: (H, W) the pixels that count; None: all.

    Returns:
        (bins,) counts.
    """
    if where is not None and values.dtype != np.uint8:
        # OpenCV's masks are slow for 16 bits; a value beyond the last is left out as well.
        values, where = np.where(where, values, values.dtype.type(bins)), None
    total = np.zeros(bins, np.int64)
    for rows in _bands(values.shape):
        mask = None if where is None else where[rows].view(np.uint8)
        found = cv2.calcHist([values[rows]], [0], mask, [bins], [0, bins])
        total += np.asarray(found, np.int64).ravel()
    return total


def count_pairs(
    first: Mask, second: Mask, bins: tuple[int, int], where: Bools | None = None
) -> NDArray[np.int64]:
    """Count the pairs of values below ``bins``.

    Args:
        first: (H, W) uint8 or uint16.
        second: The same type and shape.
        bins: How many values each has.
        where: (H, W) the pixels that count; None: all.

    Returns:
        ``bins`` counts.
    """
    total = np.zeros(bins, np.int64)
    for rows in _bands(first.shape):
        mask = None if where is None else where[rows].view(np.uint8)
        planes = [first[rows], second[rows]]
        found = cv2.calcHist(planes, [0, 1], mask, list(bins), [0, bins[0], 0, bins[1]])
        total += np.asarray(found, np.int64)
    return total


def _bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return rows that hold no more pixels than are counted exactly."""
    height, width = shape
    step = max(1, _EXACT // max(1, width))
    return (slice(top, top + step) for top in range(0, height, step))
