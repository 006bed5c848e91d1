"""Histograms: how often each value occurs, in integers and several times as fast as np.bincount."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask

Bools = NDArray[np.bool_]

_LANES = 8
"""Places that neighbours' weights are added to in turn."""
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


def count_tuples(
    planes: Sequence[Mask], bins: Sequence[int], where: Bools | None = None
) -> NDArray[np.int64]:
    """Count the pairs, or longer tuples, of values below ``bins``.

    Args:
        planes: (H, W) uint8 or uint16 each, all of one type and shape.
        bins: How many values each has.
        where: (H, W) the pixels that count; None: all.

    Returns:
        ``bins`` counts.
    """
    total = np.zeros(bins, np.int64)
    channels, ranges = [*range(len(planes))], [end for most in bins for end in (0, most)]
    for rows in _bands(planes[0].shape):
        mask = None if where is None else where[rows].view(np.uint8)
        parts = [plane[rows] for plane in planes]
        found = cv2.calcHist(parts, channels, mask, [*bins], ranges)
        total += np.asarray(found, np.int64)
    return total


def sum_values(values: Mask, weights: NDArray[np.float32], bins: int) -> NDArray[np.float64]:
    """Add up the weights of each value below ``bins``.

    Args:
        values: (H, W) uint8 or uint16, all below ``bins``.
        weights: (H, W).
        bins: How many values there are, at most 8191.
    """
    # Neighbours are added to different places: an addition waits for the one before to its place.
    lanes = np.arange(values.shape[1], dtype=np.uint16) % _LANES * bins
    kind = np.uint8 if _LANES * bins <= 256 else np.uint16
    places = values.astype(kind, copy=False) + lanes.astype(kind)
    sums = np.bincount(places.ravel(), weights.ravel(), _LANES * bins)
    return np.asarray(sums.reshape(_LANES, bins).sum(axis=0))


def _bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return rows that hold no more pixels than are counted exactly."""
    height, width = shape
    step = max(1, _EXACT // max(1, width))
    return (slice(top, top + step) for top in range(0, height, step))
