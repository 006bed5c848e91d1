"""PNG: whether a file reaches its own end, and colours of 16 bits, which Pillow cuts to 8."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.installing import need

_START: Final = b"\x89PNG\r\n\x1a\n"


def is_png(data: bytes) -> bool:
    """Return whether bytes begin as a PNG file does."""
    return data.startswith(_START)


def is_whole_png(data: bytes) -> bool:
    """Walk the chunks to the last one: length, name, content, checksum."""
    at = len(_START)
    while at + 12 <= len(data):
        name = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if name == b"IEND":
            return at <= len(data)
    return False


def is_deep_png(data: bytes) -> bool:
    """Return whether a PNG file has colours, or grey with alpha, of 16 bits."""
    return is_png(data) and data[24:25] == b"\x10" and data[25:26] in b"\2\4\6"


def read_deep_png(data: bytes, name: str) -> NDArray[np.uint16]:
    """Read a PNG file of 16 bits, which Pillow would cut to 8, as it is stored.

    Args:
        data: The file's content.
        name: What errors call it.

    Returns:
        (H, W, 3) or (H, W, 4) uint16, RGB or RGBA.

    Raises:
        InputError: Damaged, or OpenCV is not installed.
    """
    need("cv2", "data", f"{name}: a PNG with colours of 16 bits")
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError(f"{name}: not readable as an image; damaged")
    return np.asarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]], np.uint16)
