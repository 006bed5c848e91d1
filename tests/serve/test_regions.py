"""Masks as JSON."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.labels import LabelSet, default_palette
from topseg.serve.workers.regions import describe, polygons, run_lengths


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(size=(4, 9, 13)).astype(np.float32)
    return np.stack([cv2.resize(plane, (53, 41)) for plane in noise]).argmax(0).astype(np.uint8)


def decode(rle: dict[str, Any]) -> NDArray[Any]:
    """As COCO's tools do: runs without and with the class in turn, down the columns."""
    flat = np.repeat(np.arange(len(rle["counts"])) % 2, rle["counts"])
    return flat.reshape(rle["size"], order="F").astype(bool)


def test_run_lengths_give_the_mask_again(mask: NDArray[np.uint8]) -> None:
    found = run_lengths(mask)
    assert sorted(found) == [0, 1, 2, 3]
    for index, counts in found.items():
        assert min(counts[1:]) > 0
        again = decode({"size": mask.shape, "counts": counts})
        np.testing.assert_array_equal(again, mask == index)


def test_run_lengths_of_known_masks() -> None:
    assert run_lengths(np.array([[0, 1], [0, 1], [1, 1]], np.uint8)) == {0: [0, 2, 4], 1: [2, 4]}
    assert run_lengths(np.full((2, 3), 254, np.uint8)) == {254: [0, 6]}
    assert run_lengths(np.array([[300, 7]], np.uint16)) == {300: [0, 1, 1], 7: [1, 1]}


def test_polygons_fill_to_the_mask_again(mask: NDArray[np.uint8]) -> None:
    for index in range(4):
        canvas = np.zeros(mask.shape, np.uint8)
        for rings in polygons(mask, index):
            outline, *holes = [np.array(ring, np.int32) for ring in rings]
            one = cv2.fillPoly(np.zeros_like(canvas), [outline], 1)
            for hole in holes:  # its ring lies on the class's own pixels
                inner = cv2.fillPoly(np.zeros_like(canvas), [hole], 1)
                one[(inner == 1) & (cv2.polylines(np.zeros_like(canvas), [hole], True, 1) == 0)] = 0
            canvas |= one
        np.testing.assert_array_equal(canvas == 1, mask == index)


def test_polygons_know_their_holes() -> None:
    mask = np.ones((12, 12), np.uint8)
    mask[3:9, 3:9] = 0
    mask[5:7, 5:7] = 1
    found = polygons(mask, 1)
    assert sorted(len(rings) for rings in found) == [1, 2]
    ring = next(rings for rings in found if len(rings) == 2)
    assert [0, 0] in ring[0]
    assert [0, 0] not in ring[1]
    assert polygons(mask, 5) == []


def test_description(mask: NDArray[np.uint8]) -> None:
    labels = LabelSet(("a", "b", "c", "d", "never"), default_palette(5))
    found = json.loads(describe(mask, labels, "none"))
    areas = [one["area"] for one in found["classes"]]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == mask.size
    assert found["size"] == [41, 53]
    assert {one["name"] for one in found["classes"]} == {"a", "b", "c", "d"}
    assert set(found["classes"][0]) == {"index", "name", "color", "area", "share"}
    full = json.loads(describe(mask, labels, "all"))
    assert {"rle", "polygons"} < set(full["classes"][0])
