"""Header: what an image file says of itself in its first bytes, before anything is decoded.

Only formats whose magic bytes are listed here reach a decoder, and only images whose stated size is
within the limit, so that a small file cannot ask for a large allocation.
"""

from __future__ import annotations

import re
from typing import Final

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.serve.refusal import Refusal, too_large

FORMATS: Final = ("image/jpeg", "image/png", "image/webp")

# A JPEG marker that is neither a stuffed byte (FF 00), a restart (FF D0-D7) nor filling (FF FF).
_JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_header(data: bytes, max_pixels: int) -> Size:
    """Refuse what is no image of a known format, or is too large.

    Args:
        data: The file.
        max_pixels: Height times width that is allowed.

    Returns:
        (height, width) as stored (an EXIF orientation may turn it).

    Raises:
        Refusal: Another format, or too many pixels.
        InputError: The header is damaged.
    """
    if data.startswith(b"\xff\xd8\xff"):
        size = _jpeg_size(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        size = _png_size(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = _webp_size(data)
    else:
        raise Refusal(415, "image: neither JPEG nor PNG nor WebP", reason="format")
    if size is None or 0 in size:
        raise InputError("image: its header is damaged; send the whole file again")
    if size[0] * size[1] > max_pixels:
        raise too_large(f"image: {size[0]}x{size[1]} pixels", f"{max_pixels} pixels in all")
    return size


def _jpeg_size(data: bytes) -> Size | None:
    """Walk the segments to the frame header (ITU T.81, B.2.2): length, precision, size."""
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        at = found.end()
        if found[1][0] in _JPEG_FRAMES:
            return _number(data, at + 3, 2), _number(data, at + 5, 2)
        at += _number(data, at, 2)
    return None


def _png_size(data: bytes) -> Size | None:
    """Read the first chunk, which must be IHDR: width, height."""
    if data[12:16] != b"IHDR":
        return None
    return _number(data, 20, 4), _number(data, 16, 4)


def _webp_size(data: bytes) -> Size | None:
    """Read the first chunk: a lossy frame, a lossless one, or the extended header's canvas."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (_number(data, at, 2, "little") & 0x3FFF for at in (26, 28))
    elif kind == b"VP8L" and data[20:21] == b"\x2f":
        bits = _number(data, 21, 4, "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width, height = (_number(data, at, 3, "little") + 1 for at in (24, 27))
    else:
        return None
    return height, width


def _number(data: bytes, at: int, length: int, order: str = "big") -> int:
    """An unsigned number; what lies beyond the end of the data counts as zeros missing."""
    return int.from_bytes(data[at : at + length], "little" if order == "little" else "big")
