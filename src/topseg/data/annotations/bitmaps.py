"""Bitmaps: small pictures that stand inside annotations, decoded within bounds."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from topseg.core.geometry import Size
from topseg.data.annotations.shapes import ShapeError

MAX_PIXELS: Final = 1 << 28
"""Of an image that is labelled."""


def decode_bitmap(data: bytes, size: Size) -> NDArray[np.bool_]:
    """Decode the picture of one region: (h, w), set where it is not zero.

    Of a picture with alpha, alpha decides.

    Args:
        data: A PNG, BMP or WebP.
        size: (height, width) of the image that it belongs to; it is not larger.

    Raises:
        ShapeError: It is no such picture, or larger.
    """
    try:
        with PIL.Image.open(io.BytesIO(data), formats=("PNG", "BMP", "WEBP")) as picture:
            if picture.width > size[1] or picture.height > size[0]:
                raise ShapeError("a bitmap larger than its image")
            pixels = np.asarray(picture)
    except ShapeError:
        raise
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        raise ShapeError("a bitmap that cannot be read") from None
    if pixels.ndim == 3:
        pixels = pixels[..., -1] if pixels.shape[2] in (2, 4) else pixels.max(axis=2)
    return np.asarray(pixels != 0)
