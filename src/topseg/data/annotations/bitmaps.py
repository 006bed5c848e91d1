"""Bitmaps: small pictures that stand inside annotations, decoded within bounds."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from topseg.data.annotations.shapes import ShapeError

MAX_PIXELS: Final = 1 << 28
"""Of a picture that is labelled, and of a bitmap in an annotation."""


def decode_picture(data: bytes) -> NDArray[Any]:
    """Decode a small picture: (H, W) or (H, W, C), palette indices as they are.

    Raises:
        ShapeError: It is none, or too large.
    """
    try:
        with PIL.Image.open(io.BytesIO(data), formats=("PNG", "BMP", "WEBP")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ShapeError("a bitmap of too many pixels")
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError("a bitmap that cannot be read") from None


def decode_bitmap(data: bytes) -> NDArray[np.bool_]:
    """Decode the picture of one region: (H, W), set where it is not zero.

    Of a picture with alpha, alpha decides.

    Raises:
        ShapeError: It is none, or too large.
    """
    pixels = decode_picture(data)
    if pixels.ndim == 3:
        pixels = pixels[..., -1] if pixels.shape[2] in (2, 4) else pixels.max(axis=2)
    return np.asarray(pixels != 0)
