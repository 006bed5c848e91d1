"""Colors: the arithmetic of colour changes on bytes, by lookup tables where it is per value.

``brightness``, ``contrast`` and ``saturation`` blend as Pillow's ``ImageEnhance`` does, truncating
what lies between two bytes. Images of other than three channels have no saturation and no hue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg.media.images import Image

_VALUES: Final = np.arange(256, dtype=np.float32)


def brightness(image: Image, factor: float) -> Image:
    """Blend with black: factor 0 is black, 1 the image."""
    return _map(image, _VALUES * factor)


def contrast(image: Image, factor: float) -> Image:
    """Blend with the image's mean grey."""
    import cv2

    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image
    mean = int(gray.mean() + 0.5)
    return _map(image, mean + (_VALUES - mean) * factor)


def saturation(image: Image, factor: float) -> Image:
    """Blend with the image's own grey."""
    if image.shape[2] != 3:
        return image
    import cv2

    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # Nearly -0.5 makes rounding truncate; with all of it whole values would be rounded to even.
    blended: Image = cv2.addWeighted(image, factor, gray, 1 - factor, -0.4999)
    return blended


def hue(image: Image, turn: float) -> Image:
    """Turn hue by 1/256ths of the circle, rounded down."""
    return _map_hsv(image, 0, np.floor(_VALUES + turn) % 256)


def hsv_saturation(image: Image, factor: float) -> Image:
    """Multiply the saturation of HSV."""
    return _map_hsv(image, 1, _VALUES * factor)


def add(image: Image, amount: float) -> Image:
    """Add to every channel."""
    return _map(image, _VALUES + amount)


CHANGES: Final[dict[str, Callable[[Image, float], Image]]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
    "hsv_saturation": hsv_saturation,
    "add": add,
}


def _map(image: Image, values: NDArray[Any]) -> Image:
    """Return every byte the value of its place in a table of 256."""
    import cv2

    mapped: Image = cv2.LUT(image, values.clip(0, 255).astype(np.uint8)).reshape(image.shape)
    return mapped


def _map_hsv(image: Image, channel: int, values: NDArray[Any]) -> Image:
    """Map one channel of HSV (each 0..255)."""
    if image.shape[2] != 3:
        return image
    import cv2

    table = np.tile(np.arange(256, dtype=np.uint8)[:, None], 3)
    table[:, channel] = values.clip(0, 255)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table.reshape(1, 256, 3))
    mapped: Image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    return mapped
