"""Masks as JSON, COCO and GeoJSON."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.labels import LabelSet, default_palette
from topseg.media.regions import compress_runs, describe, run_lengths, to_coco, to_geojson


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


def test_short_run_lengths_are_those_of_coco_s_tools(mask: NDArray[np.uint8]) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    noise = np.random.default_rng(1).integers(0, 4, (300, 170), np.uint8)
    stripes = np.repeat(np.arange(4, dtype=np.uint8), 40_000)[None].repeat(3, axis=0)
    for one in (mask, noise, stripes, np.zeros((1, 1), np.uint8)):
        for index, counts in run_lengths(one).items():
            inside = np.asfortranarray(one == index, np.uint8)
            assert compress_runs(counts) == coco.encode(inside)["counts"].decode()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_reads_what_was_there(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    mask[0, :7] = 255
    labels = LabelSet(("a", "b", "c", "d"), default_palette(4))
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(to_coco(mask, labels, image_id=7, file_name="x.png")))
    data = coco.COCO(file)
    assert data.loadImgs(7)[0]["file_name"] == "x.png"
    assert [one["name"] for one in data.loadCats(data.getCatIds())] == list("abcd")
    annotations = data.loadAnns(data.getAnnIds(imgIds=[7]))
    assert len({one["id"] for one in annotations}) == len(annotations) == 4
    for one in annotations:
        inside = mask == one["category_id"] - 1
        np.testing.assert_array_equal(data.annToMask(one) == 1, inside)
        rows, columns = np.nonzero(inside)
        left, top, width, height = one["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
        assert one["area"] == inside.sum()


def test_features_are_valid_polygons(mask: NDArray[np.uint8]) -> None:
    shapely = pytest.importorskip("shapely")
    mask[10:14, 10:14] = 255
    labels = LabelSet(("a", "b", "c", "d"), default_palette(4))
    found = json.loads(json.dumps(to_geojson(mask, labels)))
    shapes = [shapely.from_geojson(json.dumps(one["geometry"])) for one in found["features"]]
    assert all(shape.is_valid and shape.exterior.is_ccw for shape in shapes)
    assert not any(hole.is_ccw for shape in shapes for hole in shape.interiors)
    for shape, one in zip(shapes, found["features"], strict=True):
        assert shape.area == one["properties"]["area"]
        assert one["properties"]["name"] == labels.names[one["properties"]["class"]]
    assert shapely.unary_union(shapes).area == mask.size - 16


def test_features_on_a_map(mask: NDArray[np.uint8]) -> None:
    shapely = pytest.importorskip("shapely")
    labels = LabelSet(("a", "b", "c", "d"), default_palette(4))
    north_up = (0.5, 0, 400_000, 0, -0.5, 5_000_000)  # as maps have it: y decreases downwards
    for one in to_geojson(mask, labels, north_up)["features"]:
        shape = shapely.from_geojson(json.dumps(one["geometry"]))
        assert shape.exterior.is_ccw
        assert shape.area == 0.25 * one["properties"]["area"]
        left, low, right, high = shape.bounds
        assert 400_000 <= left < right <= 400_000 + 53 / 2
        assert 5_000_000 - 41 / 2 <= low < high <= 5_000_000


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
