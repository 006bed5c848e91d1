"""Shapes: what a region covers, pixel for pixel as the tool that it comes from would paint it.

Three rules of filling polygons are in use. COCO's (``fill_ring``) covers the pixels whose centres
lie inside, found on a grid five times as fine: https://github.com/cocodataset/cocoapi, rleFrPoly.
Pillow's (``Outline``) and OpenCV's (``Filled``) cover the outline as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size

Points = NDArray[np.float64]
"""(N, 2) corners as (x, y) in pixels."""
_FINE: Final = 5  # COCO's grid: this many steps for each pixel
_FAR: Final = 16  # corners lie at most this many times the image's longer side from its origin


class ShapeError(InputError):
    """A region that cannot be painted; the text is short, for it is counted."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Pixels of an image, inside one window of it.

    Attributes:
        top: The window's first row.
        left: Its first column.
        bits: (h, w) which of its pixels are meant.
    """

    top: int
    left: int
    bits: NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Pixels that are meant."""
        return int(np.count_nonzero(self.bits))

    def fill(self, canvas: NDArray[Any], value: int) -> None:
        """Write a value into an image's pixels."""
        height, width = self.bits.shape
        canvas[self.top : self.top + height, self.left : self.left + width][self.bits] = value


EMPTY: Final = Patch(0, 0, np.zeros((0, 0), np.bool_))


class Shape(Protocol):
    """Anything that covers pixels of an image."""

    def cover(self, size: Size) -> Patch:
        """Return the pixels of an image of some (height, width) that it covers.

        Raises:
            ShapeError: It cannot be painted there.
        """


@dataclass(frozen=True, eq=False)
class Polygons:
    """The union of some rings, without that of some others, by COCO's rule.

    Attributes:
        rings: Outer rings.
        holes: Rings that are cut out.
    """

    rings: tuple[Points, ...]
    holes: tuple[Points, ...] = ()

    def cover(self, size: Size) -> Patch:
        """Return the covered pixels."""
        patches = [fill_ring(ring, size) for ring in self.rings]
        if not patches:
            raise ShapeError("a region without an outline")
        if len(patches) == 1 and not self.holes:
            return patches[0]
        top, left = min(p.top for p in patches), min(p.left for p in patches)
        bottom = max(p.top + p.bits.shape[0] for p in patches)
        right = max(p.left + p.bits.shape[1] for p in patches)
        canvas = np.zeros(size, np.bool_)
        for patch in patches:
            patch.fill(canvas, True)
        for ring in self.holes:
            fill_ring(ring, size).fill(canvas, False)
        return Patch(top, left, canvas[top:bottom, left:right].copy())


def fill_ring(ring: Points, size: Size) -> Patch:
    """Fill one ring by COCO's rule: even-odd, by columns, at a fifth of a pixel.

    Every edge is walked in steps of the fine grid along its longer axis. Where the walk crosses the
    middle of a column of pixels, the column's filling is switched from that row on.

    Args:
        ring: (N, 2) corners; the last is joined to the first.
        size: (height, width) of the image.

    Raises:
        ShapeError: Fewer than three corners, or one far from the image.
    """
    height, width = size
    _check_corners(ring, size, least=3)
    corners = np.trunc(_FINE * ring + 0.5).astype(np.int64)
    start, end = corners, np.roll(corners, -1, axis=0)
    step = np.abs(end - start)
    flat = step[:, 0] >= step[:, 1]  # the longer axis is x
    main = np.where(flat, 0, 1)
    row = np.arange(len(ring))
    flip = start[row, main] > end[row, main]
    low, high = np.where(flip[:, None], end, start), np.where(flip[:, None], start, end)
    length = step[row, main]
    rise = high[row, 1 - main] - low[row, 1 - main]
    slope = np.divide(rise, length, out=np.zeros(len(ring)), where=length > 0)
    # All points of all edges one after the other: t counts along the edge, in its own direction.
    edge = np.repeat(row, length + 1)
    first = np.cumsum(length + 1) - (length + 1)
    t = np.arange(len(edge)) - first[edge]
    t = np.where(flip[edge], length[edge] - t, t)
    along = low[row, main][edge] + t
    across = np.trunc(low[row, 1 - main][edge] + slope[edge] * t + 0.5).astype(np.int64)
    u, v = np.where(flat[edge], along, across), np.where(flat[edge], across, along)
    # Crossings of the middle of a pixel's column.
    crosses = np.flatnonzero(u[1:] != u[:-1])
    before, after = crosses, crosses + 1
    columns = (np.where(u[after] < u[before], u[after], u[after] - 1) + 0.5) / _FINE - 0.5
    rows = (np.minimum(v[after], v[before]) + 0.5) / _FINE - 0.5
    inside = (np.floor(columns) == columns) & (columns >= 0) & (columns <= width - 1)
    columns = columns[inside].astype(np.int64)
    rows = np.ceil(rows[inside].clip(0, height)).astype(np.int64)
    if not len(columns):
        return EMPTY
    top, left = int(rows.min()), int(columns.min())
    box = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    switches = np.bincount((rows - top) * box[1] + columns - left, minlength=box[0] * box[1])
    bits = np.cumsum(switches.reshape(box) & 1, axis=0, dtype=np.uint8) & 1
    return Patch(top, left, bits[:-1].astype(np.bool_))


@dataclass(frozen=True, eq=False)
class Outline:
    """A figure with its outline, as Pillow draws it: even-odd, the edge's pixels included.

    Attributes:
        points: (N, 2) corners: of a rectangle two opposite ones, of a circle its centre and a point
            on it.
        kind: What they are.
        edge: Whether a polygon's outline is drawn once more as lines, which reach a little further.
    """

    points: Points
    kind: Literal["polygon", "rectangle", "circle"] = "polygon"
    edge: bool = True

    def cover(self, size: Size) -> Patch:
        """Return the covered pixels."""
        _check_corners(self.points, size, least=3 if self.kind == "polygon" else 2)
        image = PIL.Image.new("1", size[::-1])
        pen = PIL.ImageDraw.Draw(image)
        (x, y), (x2, y2) = self.points[:2].tolist()
        if self.kind == "rectangle":
            pen.rectangle((min(x, x2), min(y, y2), max(x, x2), max(y, y2)), fill=1, outline=1)
        elif self.kind == "circle":
            radius = math.hypot(x2 - x, y2 - y)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
        else:
            corners = [(x, y) for x, y in self.points.tolist()]
            pen.polygon(corners, fill=1, outline=1 if self.edge else None)
        return crop(np.asarray(image, np.bool_))


@dataclass(frozen=True, eq=False)
class Filled:
    """A polygon with its outline, as OpenCV fills it, without the same of its holes.

    Attributes:
        ring: (N, 2) corners; their fractions are dropped.
        holes: Rings that are cut out.
    """

    ring: Points
    holes: tuple[Points, ...] = ()

    def cover(self, size: Size) -> Patch:
        """Return the covered pixels."""
        canvas = np.zeros(size, np.uint8)
        for ring in (self.ring, *self.holes):
            _check_corners(ring, size, least=3)
        cv2.fillPoly(canvas, [self.ring.astype(np.int32)], 1)
        if self.holes:
            cv2.fillPoly(canvas, [hole.astype(np.int32) for hole in self.holes], 0)
        return crop(canvas.astype(np.bool_))


@dataclass(frozen=True, eq=False)
class Bitmap:
    """Pixels, one by one.

    Attributes:
        bits: (h, w) which are covered.
        top: Row of the image where they begin.
        left: Column.
    """

    bits: NDArray[np.bool_]
    top: int = 0
    left: int = 0

    def cover(self, size: Size) -> Patch:
        """Return the covered pixels, those outside of the image cut off."""
        top, left = max(0, -self.top), max(0, -self.left)
        bits = self.bits[top : size[0] - self.top, left : size[1] - self.left]
        if self.top >= size[0] or self.left >= size[1] or not bits.size:
            return EMPTY
        return Patch(max(0, self.top), max(0, self.left), bits.copy())


@dataclass(frozen=True, eq=False)
class Late:
    """A shape that is decoded when its turn has come, so that one at a time takes memory.

    Attributes:
        make: From the image's (height, width) to the shape.
    """

    make: Callable[[Size], Shape]

    def cover(self, size: Size) -> Patch:
        """Return the covered pixels."""
        return self.make(size).cover(size)


def crop(bits: NDArray[np.bool_]) -> Patch:
    """Return the smallest window of an image that holds its set pixels."""
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if not len(rows):
        return EMPTY
    top, left = int(rows[0]), int(columns[0])
    return Patch(top, left, bits[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def _check_corners(points: Points, size: Size, least: int) -> None:
    if len(points) < least:
        raise ShapeError(f"an outline of fewer than {least} points")
    if not np.abs(points).max() <= _FAR * max(size):  # also where one is not a number
        raise ShapeError("an outline far outside of its image")
