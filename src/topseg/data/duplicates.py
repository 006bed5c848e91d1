"""Duplicates: the same picture again, smaller, brighter or saved anew, by a perceptual hash.

A difference hash (N. Krawetz, "Kind of like that", 2013) of 16 x 16 steps: whether brightness rises
or falls from one cell of a thumbnail to the next. Steps that are flat count for neither, so black
margins and plain skies do not make pictures alike. Two hashes are compared by their cosine: 1 for
the same, about 0 for pictures that have nothing in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.data.layouts.pairs import Pair
from topseg.media.images import Image

ALIKE: Final = 0.85
"""Least cosine of near-duplicates: copies at half the size, as JPEG of quality 30, a sixth brighter
or blurred stay above 0.9; frames of CamVid's two splits stay below 0.42."""

_STEPS: Final = 16
_CELL: Final = 8  # pixels of a thumbnail's cell
_FLAT: Final = 2  # grey levels
_LEAST: Final = 64  # steps that are not flat, below which a picture has too little to compare
_BLOCK: Final = 512

Hash = NDArray[np.int8]
"""(256,) of -1, 0 and 1."""


def difference_hash(image: Image) -> Hash | None:
    """Return an image's hash; None for a picture that is flat nearly everywhere.

    Args:
        image: (H, W, C); of more than four channels the first three are taken.
    """
    pixels = image if image.shape[2] <= 4 else np.ascontiguousarray(image[..., :3])
    side = (_STEPS + 1) * _CELL
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    cells = cv2.resize(small, (_STEPS + 1, _STEPS + 1), interpolation=cv2.INTER_AREA)
    grey = np.atleast_3d(cells).astype(np.float32).mean(axis=2)
    steps = grey[:-1, 1:] - grey[:-1, :-1]
    found = (np.sign(steps) * (np.abs(steps) > _FLAT)).astype(np.int8).ravel()
    return found if np.count_nonzero(found) >= _LEAST else None


@dataclass
class Hashes:
    """The hashes of a split: 256 bytes for each image.

    Attributes:
        pairs: Of the images that have a hash.
        rows: Their hashes.
    """

    pairs: list[Pair] = field(default_factory=list)
    rows: list[Hash] = field(default_factory=list)

    def add(self, pair: Pair, found: Hash | None) -> None:
        """Add one image."""
        if found is not None:
            self.pairs.append(pair)
            self.rows.append(found)


def near_duplicates(a: Hashes, b: Hashes) -> Iterator[tuple[Pair, Pair, float]]:
    """Find the images of one split that look like one of another.

    Args:
        a: A split.
        b: Another one.

    Yields:
        An image of ``a``, the one of ``b`` that is most like it, and their cosine.
    """
    if not a.rows or not b.rows:
        return
    theirs = _normalized(b.rows)
    for start in range(0, len(a.rows), _BLOCK):
        cosines = _normalized(a.rows[start : start + _BLOCK]) @ theirs.T
        nearest = cosines.argmax(axis=1)
        for i in np.flatnonzero(cosines.max(axis=1) >= ALIKE).tolist():
            j = int(nearest[i])
            yield a.pairs[start + i], b.pairs[j], float(cosines[i, j])


def _normalized(rows: list[Hash]) -> NDArray[np.float32]:
    """Return hashes as (n, 256) float32 rows of length 1."""
    table = np.stack(rows).astype(np.float32)
    table /= np.sqrt(np.abs(table).sum(axis=1, keepdims=True))
    return table
