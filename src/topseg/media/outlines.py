"""Outlines: a class of a mask as polygons with holes, along the edges of its pixels.

Pixel (row y, column x) covers the square from (x, y) to (x + 1, y + 1), so that a single pixel has
an outline of four points, areas are pixel counts, and filling a polygon gives its pixels again. A
polygon is one connected part of the class (4 neighbours). Its rings are simple: none crosses or
touches itself, as the Simple Features standard (OGC 06-103r4, 6.1.11) demands; a hole may touch the
shell or another hole in single points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask

Ring = NDArray[np.int32]
"""(N, 2) corners x, y, N >= 4; the last is joined to the first."""
Polygon = list[Ring]
"""The shell (signed area above 0 in x, y), then its holes (below 0)."""


def trace_polygons(mask: Mask, index: int) -> list[Polygon]:
    """Trace one class.

    Args:
        mask: (H, W) class indices.
        index: The class.

    Returns:
        One polygon for each connected part, in the order of their first pixels; none where the
        class is not in the mask.
    """
    whole = mask == index
    left, top, width, height = bounds(whole)
    inside = whole[top : top + height, left : left + width]
    if not inside.size:
        return []
    rings, pixels = _rings(inside)
    # All rings at once: corners, signed areas and parts.
    ends = np.cumsum([len(ring) for ring in rings])
    corners = np.array([corner for ring in rings for corner in ring], np.int64)
    y, x = np.divmod(corners, width + 1)
    following = np.append(np.arange(1, len(corners)), 0)
    following[ends - 1] = np.append(0, ends[:-1])
    areas = np.add.reduceat(x * y[following] - x[following] * y, np.append(0, ends[:-1])) // 2
    points = np.stack([x + left, y + top], axis=1).astype(np.int32)
    found: dict[int, Polygon] = {}
    numbers = _parts_at(inside, np.array(pixels))
    for ring, part, area in zip(np.split(points, ends[:-1]), numbers, areas.tolist(), strict=True):
        polygon = found.setdefault(part, [])
        polygon.insert(0 if area > 0 else len(polygon), ring)
    return [found[part] for part in sorted(found)]


def bounds(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of the smallest box around what is True; zeros: nothing."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return 0, 0, 0, 0
    top, left = int(rows[0]), int(columns[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def _parts_at(inside: NDArray[np.bool_], pixels: NDArray[np.intp]) -> list[int]:
    """Return for each pixel the number of its connected part, in the order of first pixels.

    Args:
        inside: (H, W).
        pixels: (N, 2) rows and columns, all inside.
    """
    stride = inside.shape[1] + 1
    row, first, last, _ = _runs(inside.view(np.int8))
    begin, end = row * stride + first, row * stride + last
    # Runs that share a column with one in the next row are of one part: union, find.
    below = np.searchsorted(end, begin + stride, "right").tolist()
    beyond = np.searchsorted(begin, end + stride, "left").tolist()
    part = list(range(len(row)))
    for run in range(len(part)):
        for other in range(below[run], beyond[run]):
            one, two = _root(part, run), _root(part, other)
            part[max(one, two)] = min(one, two)
    runs = np.searchsorted(begin, pixels @ np.array([stride, 1]), "right") - 1
    return [_root(part, run) for run in runs.tolist()]


def _root(part: list[int], run: int) -> int:
    while part[run] != run:
        part[run] = part[part[run]]  # the way is halved for who comes next
        run = part[run]
    return run


def _rings(inside: NDArray[np.bool_]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Return all simple rings of a binary mask, and for each a pixel (row, column) that it bounds.

    Rings go right along upper edges, down along right ones, left along lower and up along left
    ones. Runs of edges without a turn are linked as wholes; corners are numbered y * stride + x.
    """
    stride = inside.shape[1] + 1
    padded = np.pad(inside, 1).view(np.int8)
    row, first, last, upper = _runs(np.diff(padded, axis=0)[:, 1:-1])
    column, begin, end, lefts = _runs(np.diff(padded, axis=1)[1:-1].T)
    near, far = row * stride + first, row * stride + last
    low, high = begin * stride + column, end * stride + column
    tails, heads = np.where(upper, near, far), np.where(upper, far, near)
    tails_down, heads_down = np.where(lefts, high, low), np.where(lefts, low, high)
    # Where two pixels touch in a corner only, two runs end there; each goes on around its own.
    to_column = _join(heads, upper, tails_down, ~lefts)
    to_row = _join(heads_down, lefts, tails, upper)
    following = to_row[to_column].tolist()
    starts, ends = tails.tolist(), heads.tolist()
    done = bytearray(len(following))
    rings: list[list[int]] = []
    pixels: list[tuple[int, int]] = []
    for number, pixel in enumerate(zip((row - ~upper).tolist(), first.tolist(), strict=True)):
        if done[number]:
            continue
        corners, run = [], number
        while not done[run]:
            done[run] = True
            corners += [starts[run], ends[run]]
            run = following[run]
        simple = _split(corners)
        rings += simple
        pixels += [pixel] * len(simple)
    return rings, pixels


def _runs(
    edges: NDArray[np.int8],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return runs of one sign within the lines of an array: line, first, end, whether above 0."""
    change = np.diff(np.pad(edges, ((0, 0), (1, 1))), axis=1) != 0
    line, place = np.nonzero(change)
    value = np.pad(edges, ((0, 0), (0, 1)))[line, place]
    starts = np.flatnonzero(value)  # the next change of the same line ends the run
    return line[starts], place[starts], place[starts + 1], value[starts] > 0


def _join(
    heads: NDArray[np.intp],
    head_rank: NDArray[np.bool_],
    tails: NDArray[np.intp],
    tail_rank: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Return for each head the tail at the same corner, and of two there that of the same rank."""
    out = np.empty(len(heads), np.intp)
    out[np.argsort(2 * heads + head_rank)] = np.argsort(2 * tails + tail_rank)
    return out


def _split(corners: list[int]) -> list[list[int]]:
    """Cut a closed path into rings that visit each corner once."""
    if len(set(corners)) == len(corners):
        return [corners]
    rings: list[list[int]] = []
    path: list[int] = []
    place: dict[int, int] = {}
    for corner in corners:
        if (at := place.get(corner)) is not None:
            rings.append(path[at:])
            for one in path[at:]:
                del place[one]
            del path[at:]
        place[corner] = len(path)
        path.append(corner)
    return [*rings, path]
