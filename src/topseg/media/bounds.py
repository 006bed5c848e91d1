"""Bounds: what the header of an image claims, checked before memory is taken for it."""

from __future__ import annotations

from typing import Final

from topseg.core.errors import InputError
from topseg.core.geometry import Size

_MOST_BYTES: Final = 2**31
"""Of the samples in memory; beyond it an image is read window by window or not at all."""
_SMALL: Final = 2**26
_MOST_RATIO: Final = 2**15  # what compression makes of one byte, in an empty image by Zstandard


def check_claim(name: str, size: Size, samples: int, claimed: int, length: int) -> None:
    """Check that an image fits into memory, and that its file is long enough to hold it.

    Args:
        name: What errors call it.
        size: (height, width) in pixels.
        samples: Samples of a pixel.
        claimed: Bytes that the samples take in memory.
        length: Bytes of the file.

    Raises:
        InputError: It is too large, or truncated.
    """
    if claimed > _MOST_BYTES:
        raise InputError(
            f"{name}: {size[1]}x{size[0]} pixels of {samples} samples take "
            f"{claimed / 2**30:.1f} GiB, expected 2 at most; 'topseg tile' reads large images "
            "window by window"
        )
    if claimed > max(_SMALL, _MOST_RATIO * length):
        raise truncated(name)


def truncated(name: str) -> InputError:
    """Return the error that the end of an image is missing."""
    return InputError(f"{name}: truncated, the end of the image is missing; get the file again")
