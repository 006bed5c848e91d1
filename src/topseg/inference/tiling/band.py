"""Band: the blended logits that tiles may still add to, and the mask cut off above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import STRIDE
from topseg.core.labels import Mask
from topseg.inference.tta import Logits
from topseg.inference.upsample import upsample_argmax

HALF: Final = STRIDE // 2
"""Rows of pixels that the mask lags behind the band: a pixel between two cells needs both."""


def ramps(spans: Sequence[slice]) -> list[NDArray[np.float32]]:
    """Return each tile's weight in every cell along one axis.

    Args:
        spans: The tiles in pixels, in order.

    Returns:
        (cells,) for each tile: 1 where it is alone, falling linearly over an overlap; over all
        tiles they sum to 1.
    """
    cells = [slice(span.start // STRIDE, span.stop // STRIDE) for span in spans]
    overlap = cells[0].stop - cells[1].start if len(cells) > 1 else 0
    total, raw = np.zeros(cells[-1].stop), []
    for cell in cells:
        place = np.arange(cell.stop - cell.start)
        raw.append(np.minimum(np.minimum(place, place[::-1]), overlap) + 1.0)
        total[cell] += raw[-1]
    return [
        (weight / total[cell]).astype(np.float32) for weight, cell in zip(raw, cells, strict=True)
    ]


@dataclass
class Band:
    """The rows of blended logits that tiles may still add to, and one row above them.

    Attributes:
        top: The first row, in cells.
        logits: (K, n, w) float32.
    """

    top: int
    logits: Logits

    def grow(self, bottom: int) -> None:
        """Add rows of zeros down to this one."""
        classes, rows, width = self.logits.shape
        more = np.zeros((classes, bottom - self.top - rows, width), np.float32)
        self.logits = np.concatenate((self.logits, more), axis=1)

    def add(self, rows: slice, columns: slice, logits: Logits) -> None:
        """Add a tile's weighted logits; its rows and columns are in pixels."""
        top = rows.start // STRIDE - self.top
        left, right = columns.start // STRIDE, columns.stop // STRIDE
        self.logits[:, top : top + logits.shape[1], left:right] += logits

    def cut(self, bottom: int, threads: int, *, last: bool) -> Mask:
        """Make the mask of the rows above this one, and keep the row that the next cut needs.

        A pixel between two cells' centres is made of both, so half a cell waits for the next cut.
        """
        final = self.logits[:, : bottom - self.top]
        size = (STRIDE * final.shape[1], STRIDE * final.shape[2])
        mask = upsample_argmax(final, size, threads)
        mask = mask[HALF if self.top else 0 : None if last else -HALF]
        self.logits = self.logits[:, bottom - 1 - self.top :].copy()
        self.top = bottom - 1
        return mask
