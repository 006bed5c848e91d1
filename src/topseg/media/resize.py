"""Resize: bilinear, bytes as OpenCV's INTER_LINEAR does it (11-bit weights), integer by integer.

The compiled extension (``native/topseg/resize.hpp``) and the NumPy code below give the same bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import Size

try:
    from topseg import _native
except ImportError:  # there was no compiler at installation
    _native = None  # type: ignore[assignment]

_BITS = 11


def resize_image(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize an image bilinearly.

    Args:
        image: (H, W, C).
        size: (height, width) of the result.

    Returns:
        (height, width, C), contiguous; the image itself where it has the size.
    """
    image = np.ascontiguousarray(image)
    if image.shape[:2] == size:
        return image
    if not _native:
        return resize_by_numpy(image, size)
    out = np.empty((*size, image.shape[2]), np.uint8)
    _native.resize_image(image, image.shape, out, size)
    return out


def resize_planes(planes: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Resize (K, h, w) bilinearly (``align_corners=False``) to (K, height, width)."""
    if planes.shape[1:] == size:
        return planes
    across, down = _taps(planes.shape[2], size[1]), _taps(planes.shape[1], size[0])
    wide = planes[:, :, across.low] * (1 - across.weight)
    wide += planes[:, :, across.high] * across.weight
    weight = down.weight[:, None]
    out: NDArray[np.float32] = wide[:, down.low] * (1 - weight)
    out += wide[:, down.high] * weight
    return out


def resize_by_numpy(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize as :func:`resize_image` does, to another size and without the extension."""
    height, width, channels = image.shape
    if (height, width) == (2 * size[0], 2 * size[1]) and channels not in (1, 3, 4):
        # OpenCV averages the four samples of an exact half, and rounds halves to even.
        sums = image.reshape(size[0], 2, size[1], 2, channels).sum(axis=(1, 3), dtype=np.int32)
        return np.asarray(np.rint(sums / 4), np.uint8)
    across = _opencv_taps(width, size[1], inside=True)
    down = _opencv_taps(height, size[0], inside=False)
    low, high = (side[:, None] for side in across.fixed())
    wide = (image[:, across.low] * low + image[:, across.high] * high) >> 4
    low, high = (side[:, None, None] for side in down.fixed())
    sums = (wide[down.low] * low >> 16) + (wide[down.high] * high >> 16)
    return np.asarray((sums + 2) >> 2, np.uint8)


class _Taps(NamedTuple):
    """For each pixel of a resized axis its two samples, and the weight of the second, 0 to 1."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weight: NDArray[np.float32]

    def fixed(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return both weights in units of 2^-11."""
        first, second = (
            np.rint(side * np.float32(1 << _BITS)).astype(np.int32)
            for side in (1 - self.weight, self.weight)
        )
        return first, second


def _taps(samples: int, pixels: int) -> _Taps:
    """Place the pixels of an axis among its samples, in float64."""
    source = (np.arange(pixels) + 0.5) * (samples / pixels) - 0.5
    return _place(source, samples)


def _opencv_taps(samples: int, pixels: int, *, inside: bool) -> _Taps:
    """Place the pixels of an axis as OpenCV does for bytes, in float32.

    Args:
        samples: Length of the axis.
        pixels: Its new length.
        inside: Drop the weight beyond the border, as OpenCV does across and not down; with both
            samples the same it matters to the rounding alone.
    """
    source = ((np.arange(pixels) + 0.5) * (samples / pixels) - 0.5).astype(np.float32)
    found = _place(source, samples)
    beyond = (source < 0) | (np.floor(source) >= samples - 1)
    return found._replace(weight=np.where(beyond, np.float32(0), found.weight)) if inside else found


def _place(source: NDArray[Any], samples: int) -> _Taps:
    below = np.floor(source)
    low = below.astype(np.intp)
    weight = (source - below).astype(np.float32)
    return _Taps(low.clip(0, samples - 1), (low + 1).clip(0, samples - 1), weight)
