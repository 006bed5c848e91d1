"""Outlines: valid rings that fill to the mask again."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.media.outlines import Polygon, trace_polygons


def fill(polygons: list[Polygon], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Even-odd rule along each row: a pixel is inside after an odd number of edges to its left."""
    edges = np.zeros((shape[0], shape[1] + 1), np.int64)
    for ring in (ring for polygon in polygons for ring in polygon):
        for (x, y), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == x2) != (y == y2)  # along the pixels, and never a point twice
            if x == x2:
                edges[min(y, y2) : max(y, y2), x] += 1
    return np.cumsum(edges, axis=1)[:, :-1] % 2 == 1


def random_masks() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    shares = rng.random(200)
    return [(rng.random(rng.integers(1, 14, 2)) < share).astype(np.uint8) for share in shares]


def test_polygons_fill_to_the_mask_again() -> None:
    for mask in random_masks():
        found = trace_polygons(mask, 1)
        np.testing.assert_array_equal(fill(found, mask.shape), mask == 1)
        assert len(found) == cv2.connectedComponents(mask, connectivity=4)[0] - 1


def test_parts_are_those_of_opencv() -> None:
    """Also where a part winds, and where two arms meet late."""
    rng = np.random.default_rng(1)
    spiral = np.zeros((13, 13), np.uint8)
    for at in range(0, 6, 2):
        spiral[at : 13 - at, at : 13 - at] = 1
        spiral[at + 1 : 12 - at, at + 1 : 12 - at] = 0
        spiral[at + 1, at : at + 2] = (0, 1)
    combs = np.tile(np.array([1, 0], np.uint8), (9, 8))
    combs[-1] = 1
    for mask in [spiral, combs, combs[::-1], (rng.random((60, 80)) < 0.6).astype(np.uint8)]:
        count, parts = cv2.connectedComponents(mask, connectivity=4)
        found = trace_polygons(mask, 1)
        assert len(found) == count - 1
        for polygon in found:
            (number,) = np.unique(parts[fill([polygon], mask.shape)])
            np.testing.assert_array_equal(fill([polygon], mask.shape), parts == number)


def test_rings_are_simple() -> None:
    """No ring has fewer than four corners, or a corner twice."""
    for mask in random_masks():
        for ring in (ring for polygon in trace_polygons(mask, 1) for ring in polygon):
            assert len(ring) >= 4
            assert len({(int(x), int(y)) for x, y in ring}) == len(ring)


def test_polygons_are_valid_by_an_independent_judge() -> None:
    shapely = pytest.importorskip("shapely")
    for mask in random_masks():
        area = 0.0
        for shell, *holes in trace_polygons(mask, 1):
            shape: Any = shapely.Polygon(shell, holes)
            assert shape.is_valid, shapely.is_valid_reason(shape)
            assert shape.exterior.is_ccw
            area += shape.area
        assert area == mask.sum()


def test_known_outlines() -> None:
    one = np.zeros((3, 4), np.uint8)
    one[1, 2] = 9
    (((corners,)),) = trace_polygons(one, 9)
    assert corners.dtype == np.int32
    assert sorted(corners.tolist()) == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert trace_polygons(one, 5) == []


def test_polygons_know_their_holes() -> None:
    mask = np.ones((12, 12), np.uint16) * 300
    mask[3:9, 3:9] = 0
    mask[5:7, 5:7] = 300
    ring, island = trace_polygons(mask, 300)
    assert [len(ring), len(island)] == [2, 1]
    assert [0, 0] in ring[0].tolist()
    assert sorted(ring[1].tolist()) == [[3, 3], [3, 9], [9, 3], [9, 9]]


def test_tips_that_touch_in_a_corner_close_a_hole() -> None:
    """The shell would touch itself there: the notch is a hole instead, touching it once."""
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    ((shell, hole),) = trace_polygons(mask, 1)
    shared = {tuple(p) for p in shell.tolist()} & {tuple(p) for p in hole.tolist()}
    assert shared == {(2, 2)}
    assert len(hole) == 4
