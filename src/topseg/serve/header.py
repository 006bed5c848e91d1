"""Header: what an image file says of itself, before anything is decoded.

Only formats whose magic bytes are listed here reach a decoder, and only images whose stated size
and structure are within the limits, so that a small file can neither ask for a large allocation nor
keep a decoder busy.
"""

from __future__ import annotations

import re
from typing import Final

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.serve.refusal import Refusal, too_large

FORMATS: Final = ("image/jpeg", "image/png", "image/webp")

# A JPEG marker with a length: no stuffed byte (FF 00), TEM (FF 01), restart (FF D0-D7) nor filling
# (FF FF).
_JPEG_MARKER: Final = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9

MAX_SEGMENTS: Final = 2000
"""Segments of a JPEG file: a hundred scans with their tables, and the largest colour profile."""
MAX_SCANS: Final = 100
"""Scans of a JPEG file. Encoders write one to twenty; each costs a pass over the whole image."""
MAX_CHUNKS: Final = 20_000
"""Chunks of a PNG file. Encoders write the pixels in chunks of 8 kB or more."""
MAX_PACKED: Final = 16
"""Compressed texts and profiles of a PNG file: the decoder unpacks up to 8 MB of each."""
_PNG_PACKED: Final = frozenset({b"zTXt", b"iTXt", b"iCCP"})


def check_header(data: bytes, max_pixels: int) -> Size:
    """Check that a file is an image of a known format, and cheap enough to decode.

    Args:
        data: The file.
        max_pixels: Height times width that is allowed.

    Returns:
        (height, width) as stored (an EXIF orientation may turn it).

    Raises:
        Refusal: Another format, or too many pixels, scans, chunks or segments.
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
    """Walk the segments to the end of the image (ITU T.81, B.1.1); the frame header has the size.

    Entropy-coded data has no markers but restarts, so that every scan is found whatever its bytes.
    """
    size, at, scans = None, 2, 0
    for _ in range(MAX_SEGMENTS):
        found = _JPEG_MARKER.search(data, at)
        if found is None or found[1][0] == _JPEG_END:
            return size
        at = found.end()
        if found[1][0] in _JPEG_FRAMES and size is None:
            size = _number(data, at + 3, 2), _number(data, at + 5, 2)  # after length and precision
        scans += found[1][0] == _JPEG_SCAN
        if scans > MAX_SCANS:
            raise too_large("image: a JPEG of many scans", f"{MAX_SCANS} scans")
        at += _number(data, at, 2)
    raise too_large("image: a JPEG of many segments", f"{MAX_SEGMENTS} segments")


def _png_size(data: bytes) -> Size | None:
    """Walk the chunks (length, name, content, checksum); the first, IHDR, has the size."""
    if data[12:16] != b"IHDR":
        return None
    at, packed = 8, 0
    for _ in range(MAX_CHUNKS):
        name = data[at + 4 : at + 8]
        if not name or name == b"IEND":
            return _number(data, 20, 4), _number(data, 16, 4)
        packed += name in _PNG_PACKED
        if packed > MAX_PACKED:
            raise too_large("image: a PNG of many compressed texts", f"{MAX_PACKED} of them")
        at += 12 + _number(data, at, 4)
    raise too_large("image: a PNG of many chunks", f"{MAX_CHUNKS} chunks")


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
    """Return an unsigned number; bytes beyond the end of the data are left out of it."""
    return int.from_bytes(data[at : at + length], "little" if order == "little" else "big")
