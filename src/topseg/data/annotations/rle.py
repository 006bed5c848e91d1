"""Run lengths: COCO's way of writing a mask, as numbers or as a text.

Pixels are counted down the columns, runs of outside and inside by turns, outside first. The text
holds each run in groups of five bits, low ones first, from ``0`` on in ASCII (bit 5 says that more
follow, bit 4 of the last one is the sign); from the fourth run on it is the difference from the run
two before. Source: https://github.com/cocodataset/cocoapi, maskApi.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import Size
from topseg.data.annotations.shapes import Patch, ShapeError, crop

_GROUPS: Final = 9  # of five bits: more than any run that fits a picture


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask by the lengths of its runs.

    Attributes:
        counts: Runs of outside and inside by turns, down the columns.
        size: (height, width) that they were made for.
    """

    counts: NDArray[np.int64]
    size: Size

    def cover(self, size: Size) -> Patch:
        """Return the covered pixels.

        Raises:
            ShapeError: The runs are for another size, or do not fill it.
        """
        if self.size != size:
            raise ShapeError("run lengths for another size than the image's")
        height, width = size
        counts = self.counts
        if (counts < 0).any() or (counts > height * width).any() or counts.sum() != height * width:
            raise ShapeError("run lengths that do not fill their image")
        inside = np.arange(len(counts)) % 2 == 1
        return crop(np.repeat(inside, counts).reshape(width, height).T)


def decode_counts(text: str) -> NDArray[np.int64]:
    """Read the runs of COCO's compressed text.

    Raises:
        ShapeError: It is no such text.
    """
    if not text.isascii():
        raise ShapeError("run lengths that cannot be read")
    digits = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    if not len(digits):
        return np.zeros(0, np.int64)
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ShapeError("run lengths that cannot be read")
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _GROUPS:
        raise ShapeError("run lengths that cannot be read")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 31) << (5 * place), starts)
    runs -= np.where(digits[ends] & 16 != 0, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
