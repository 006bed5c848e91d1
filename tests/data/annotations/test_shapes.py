"""Polygons by COCO's rule and by Pillow's; bitmaps; what cannot be painted."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.data.annotations.shapes import Bitmap, Outline, Polygons, ShapeError, fill_ring

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools


def drawn(shape: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    canvas = np.zeros(size, np.bool_)
    shape.cover(size).fill(canvas, True)
    return canvas


def test_polygons_equal_cocos_own() -> None:
    """Inside and across the border, whole numbers and others, repeated corners, crossings."""
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for case in range(400):
        height, width = rng.integers(1, 150, 2).tolist()
        ring = rng.uniform(-0.4, 1.4, (rng.integers(3, 25), 2)) * [width, height]
        ring = np.round(ring) if case % 3 == 0 else ring
        ring = np.repeat(ring, 2, axis=0) if case % 5 == 0 else ring
        ring = ring.clip(0, [width, height]) if case % 7 == 0 else ring
        runs = coco.frPyObjects([ring.ravel().tolist()], height, width)
        expected = coco.decode(runs)[..., 0].astype(np.bool_)
        np.testing.assert_array_equal(drawn(Polygons((ring,)), (height, width)), expected)


def test_rings_are_joined_as_by_coco() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(1)
    for _ in range(50):
        rings = [rng.uniform(0, 60, (5, 2)) for _ in range(3)]
        runs = coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in rings], 50, 60))
        expected = coco.decode(runs).astype(np.bool_)
        np.testing.assert_array_equal(drawn(Polygons(tuple(rings)), (50, 60)), expected)


def test_holes_are_cut_out() -> None:
    outer = np.array([[2, 2], [18, 2], [18, 18], [2, 18]], np.float64)
    inner = np.array([[6, 6], [12, 6], [12, 12], [6, 12]], np.float64)
    expected = np.zeros((20, 20), np.bool_)
    expected[2:18, 2:18] = True
    expected[6:12, 6:12] = False
    np.testing.assert_array_equal(drawn(Polygons((outer,), (inner,)), (20, 20)), expected)


def test_outline_has_its_edge() -> None:
    corners = np.array([[2, 3], [6, 3], [6, 8], [2, 8]], np.float64)
    square = drawn(Outline(corners), (12, 12))
    expected = np.zeros((12, 12), np.bool_)
    expected[3:9, 2:7] = True
    np.testing.assert_array_equal(square, expected)
    turned = drawn(Outline(np.array([[6, 8], [2, 3]], np.float64), "rectangle"), (12, 12))
    np.testing.assert_array_equal(turned, expected)
    disc = drawn(Outline(np.array([[6, 6], [6, 10]], np.float64), "circle"), (13, 13))
    rows, columns = np.mgrid[:13, :13]
    distance = np.hypot(rows - 6, columns - 6)
    assert disc[distance <= 3.5].all()
    assert not disc[distance > 4.6].any()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 4), (-2, -3), (9, 9), (20, 0), (0, -9)])
def test_bitmap_is_cut_at_the_border(top: int, left: int) -> None:
    bits = np.random.default_rng(0).random((4, 5)) > 0.5
    expected = np.zeros((10, 10), np.bool_)
    for row, column in np.argwhere(bits):
        if 0 <= row + top < 10 and 0 <= column + left < 10:
            expected[row + top, column + left] = True
    np.testing.assert_array_equal(drawn(Bitmap(bits, top, left), (10, 10)), expected)


@pytest.mark.parametrize(
    ("ring", "text"),
    [
        ([[0, 0], [1, 1]], "fewer than 3"),
        ([[0, 0], [1e9, 0], [1, 1]], "far outside"),
        ([[0, 0], [np.nan, 0], [1, 1]], "far outside"),
    ],
)
def test_impossible_outlines(ring: list[list[float]], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        fill_ring(np.array(ring), (10, 10))
    with pytest.raises(ShapeError, match=text):
        Outline(np.array(ring)).cover((10, 10))
