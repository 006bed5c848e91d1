"""Contours: whether a mask's contours lie on its image's edges, and in how fine steps they move.

The image's gradient is averaged along the contours, at their place and at every place around it.
Where a mask fits, its own place stands out by several standard deviations, and no other place comes
near; where the mask is shifted, another place does. A mask that was enlarged without interpolation
moves in steps, which its rows and columns show without the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import Size
from topseg.core.labels import Mask
from topseg.media.images import Image

_LARGEST: Final = 480
"""Longest side in pixels that contours are compared at."""
_REACH: Final = 24
"""Places up to so many of these pixels away are tried."""
_NEAR: Final = 5
"""Places within so many pixels of the best one are no rivals of it."""
_LEAST: Final = 200
"""Pixels of contour below which nothing is said."""

SHIFTED: Final = (3, 4.5, 1.2)
"""A mask is shifted whose best place is so many pixels away, stands out by so many deviations and
leads all places that are not near it by so many (benchmarks/results/check_data.md)."""

_COARSE: Final = 3
"""Pixels of a step from which a mask is coarse."""
_DISTINCT: Final = 12
"""Different rows, and columns, in which contours must move, below which that may be by chance."""


@dataclass(frozen=True)
class Fit:
    """How a mask's contours lie on its image's edges, in standard deviations over the places tried.

    Attributes:
        here: How far their own place stands out; about 0 is chance.
        best: How far the best place stands out.
        lead: By how much it leads all places that are not near it.
        shift: How far (down, right) it is, in pixels of the image.
        distance: The same in the pixels that were compared.
    """

    here: float
    best: float
    lead: float
    shift: tuple[int, int]
    distance: float

    @property
    def is_shifted(self) -> bool:
        """Whether the mask fits clearly better at another place."""
        far, best, lead = SHIFTED
        return self.distance >= far and self.best >= best and self.lead >= lead


def fit_contours(image: Image, mask: Mask, ignore_index: int) -> Fit | None:
    """Compare a mask's contours with its image's edges.

    Args:
        image: (H, W, C); the first three channels are compared, or the first of one or two.
        mask: (H, W) class indices.
        ignore_index: Stands for pixels without a class, whose border is no contour.

    Returns:
        The fit; None where the image is too small, or has too few contours or edges.
    """
    height, width = mask.shape
    scale = min(1.0, _LARGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(size) < 4 * _REACH:
        return None
    # Both at the size at which they are compared; the mask's contours without their margin.
    image = np.ascontiguousarray(image[..., : 3 if image.shape[2] >= 3 else 1])
    if scale < 1:
        image = np.atleast_3d(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT))
    inner = slice(_REACH, -_REACH)
    contour = _contour(mask, ignore_index)[inner, inner]
    if np.count_nonzero(contour) < _LEAST:
        return None
    # How strong the edges are on average under the contours, at every place that is tried.
    sums = cv2.matchTemplate(_edges(image), contour.astype(np.float32), cv2.TM_CCORR)
    spread = float(sums.std())
    if not spread > 0:
        return None
    places = (sums - sums.mean()) / spread
    # The best place, and the best of those that are not near it.
    down, right = np.unravel_index(int(places.argmax()), places.shape)
    rows, columns = np.ogrid[: places.shape[0], : places.shape[1]]
    distant = np.hypot(rows - down, columns - right) > _NEAR
    best, here = float(places[down, right]), float(places[_REACH, _REACH])
    moved = (int(down) - _REACH, int(right) - _REACH)
    shift = (round(moved[0] / scale), round(moved[1] / scale))
    lead = best - float(places[distant].max())
    return Fit(here, best, lead, shift, float(np.hypot(*moved)))


def coarse_steps(mask: Mask) -> Size | None:
    """Return in which steps a mask's contours move, where they are coarse.

    Args:
        mask: (H, W) class indices.

    Returns:
        (height, width) in pixels, rounded, of the blocks that the mask consists of; None where it
        has finer contours, or too few to tell.
    """
    rows = _step(np.flatnonzero((mask[1:] != mask[:-1]).any(axis=1)), mask.shape[0])
    if rows is None:
        return None
    columns = _step(np.flatnonzero((mask[:, 1:] != mask[:, :-1]).any(axis=0)), mask.shape[1])
    return None if columns is None else (rows, columns)


def _step(places: NDArray[np.int64], length: int) -> int | None:
    """Return the step of an enlargement that has borders at these places, if there is a coarse one.

    Args:
        places: Indices behind which some value changes, ascending.
        length: Of the axis.
    """
    if len(places) < _DISTINCT:
        return None
    for small in range(len(places) + 1, length // _COARSE + 1):
        for offset in (0.0, 0.5):  # both ways of taking the nearest pixel
            source = np.floor((np.stack([places, places + 1]) + offset) * (small / length))
            if (source[0] != source[1]).all():
                return round(length / small)
    return None


def _contour(mask: Mask, ignore_index: int) -> NDArray[np.bool_]:
    """Return the pixels on both sides of each border between two classes."""
    out = np.zeros(mask.shape, np.bool_)
    valid = mask != ignore_index
    for first, second in (
        ((slice(1, None), slice(None)), (slice(-1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(-1))),
    ):
        border = (mask[first] != mask[second]) & valid[first] & valid[second]
        out[first] |= border
        out[second] |= border
    return out


def _edges(image: Image) -> NDArray[np.float32]:
    """Return how strong the edges of (H, W, 1 or 3) are against their neighbourhood: (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    strength = np.log1p(np.abs(across) + np.abs(down))
    return np.asarray(strength - cv2.blur(strength, (31, 31)), np.float32)
