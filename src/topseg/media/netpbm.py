"""Netpbm: grey and colours as a file holds them, and the largest value that its header gives.

Decoders differ: Pillow spreads the values to 0..255 or 0..65535 and leaves out the lower bits of
colours, OpenCV leaves values as they are.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError

_BITMAPS: Final = (b"P1", b"P4")
_HEADER: Final = 1024
"""Bytes in which the numbers of a header stand; comments may be long, but are not."""
_COMMENT: Final = re.compile(rb"#[^\r\n]*")
_START: Final = re.compile(rb"P([2356])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])++(\d{1,9}+)" + rb"\s")
"""Kind, width, height and largest value, and the one byte between them and the samples."""


def largest_value(data: bytes) -> int | None:
    """Return what the samples of a PBM, PGM or PPM file go up to; None: it is none of them.

    A bitmap's 1 is black.
    """
    kind = data[:2]
    if kind in _BITMAPS:
        return 1
    if kind not in (b"P2", b"P3", b"P5", b"P6"):
        return None
    words = re.sub(rb"#[^\r\n]*", b" ", data[:_HEADER]).split(maxsplit=4)
    if len(words) < 4 or not words[3].isdigit():
        return None
    return int(words[3])


def read_netpbm(data: bytes, name: str) -> NDArray[Any] | None:
    """Read a PGM or PPM file.

    Args:
        data: The file's content.
        name: What errors call it.

    Returns:
        (H, W, 1) or (H, W, 3), fewer than 8 bits spread to 0..255, more of them as they are in
        uint16; None: it is no such file.

    Raises:
        InputError: Damaged or truncated.
    """
    start = _START.match(data, 0, _HEADER)
    if start is None:
        return None
    kind, width, height, largest = (int(number) for number in start.groups())
    bands = 3 if kind in (3, 6) else 1
    count = height * width * bands
    if not count or not 0 < largest <= 65535:
        raise InputError(f"{name}: not readable as an image; damaged")
    if kind in (5, 6):
        stored = np.dtype(np.uint8 if largest <= 255 else ">u2")
        content = data[start.end() : start.end() + count * stored.itemsize]
        samples = np.frombuffer(
            content[: len(content) // stored.itemsize * stored.itemsize], stored
        )
    else:
        words = _COMMENT.sub(b" ", data[start.end() :]).split(maxsplit=count)[:count]
        if not all(re.fullmatch(rb"\d{1,9}", word) for word in words):
            raise InputError(f"{name}: not readable as an image; damaged")
        samples = np.array(words, "S9").astype(np.int64)
    if len(samples) < count:
        raise InputError(f"{name}: truncated, the end of the image is missing; get the file again")
    samples = np.minimum(samples, largest).reshape(height, width, bands)
    if largest < 255:
        samples = np.rint(samples * (255 / largest))
    return np.asarray(samples, np.uint8 if largest <= 255 else np.uint16)
