"""Netpbm: the largest value of a file's samples, which its header gives.

Decoders differ: Pillow spreads the values to 0..255 or 0..65535, OpenCV leaves them as they are.
"""

from __future__ import annotations

import re
from typing import Final

_BITMAPS: Final = (b"P1", b"P4")
_HEADER: Final = 1024
"""Bytes in which the numbers of a header stand; comments may be long, but are not."""


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
