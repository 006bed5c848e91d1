"""Predictions: masks, shares, probabilities and pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from topseg.core.errors import InputError
from topseg.inference.predictor import Predictor
from topseg.media.resize import resize_planes

Bytes = NDArray[np.uint8]


def test_shares_are_the_largest_first(predictor: Predictor, flag: Bytes) -> None:
    flag[30:32] = (0, 0, 255)
    found = predictor(flag).shares()
    assert [item.name for item in found] == ["blue", "red"]
    assert sum(item.share for item in found) == pytest.approx(1)


def test_probabilities_are_those_of_the_interpolated_logits(
    make_runtime: Callable[..., Any], photo: Bytes
) -> None:
    prediction = Predictor(make_runtime())(photo, keep_logits=True)
    assert prediction.logits is not None
    scores = np.exp(resize_planes(prediction.logits, prediction.size).astype(np.float64))
    expected = scores / scores.sum(axis=0)
    np.testing.assert_allclose(prediction.probabilities(), expected, atol=1e-3)
    np.testing.assert_allclose(prediction.probability(), expected.max(axis=0), atol=1e-5)
    np.testing.assert_array_equal(prediction.probabilities().argmax(0)[::9], prediction.mask[::9])


def test_probabilities_need_the_logits(predictor: Predictor, flag: Bytes) -> None:
    with pytest.raises(InputError, match="keep_logits=True"):
        predictor(flag).probability()


def test_overlay_wants_the_image(predictor: Predictor, flag: Bytes) -> None:
    prediction = predictor(flag)
    np.testing.assert_array_equal(prediction.overlay(flag, alpha=1.0), prediction.color())
    with pytest.raises(InputError, match=r"expected \(64, 96, 3\)"):
        prediction.overlay(flag[:32])


def test_save_writes_a_palette_mask(predictor: Predictor, flag: Bytes, tmp_path: Path) -> None:
    prediction = predictor(flag)
    prediction.save(tmp_path / "new" / "mask.png")
    picture = Image.open(tmp_path / "new" / "mask.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), prediction.mask)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), prediction.color())


def test_regions(predictor: Predictor, flag: Bytes) -> None:
    prediction = predictor(flag)
    polygons, runs = prediction.polygons(), prediction.rle()
    assert sorted(polygons) == sorted(runs) == sorted(np.unique(prediction.mask))
    for index, found in runs.items():
        flat = np.repeat(np.arange(len(found["counts"])) % 2, found["counts"])
        inside = flat.reshape(found["size"], order="F") == 1
        np.testing.assert_array_equal(inside, prediction.mask == index)
    assert all(isinstance(one["counts"], str) for one in prediction.rle(compressed=True).values())
    assert len(prediction.to_geojson()["features"]) == sum(map(len, polygons.values()))
    assert len(prediction.to_coco(file_name="flag.png")["annotations"]) == len(runs)
    assert json.loads(prediction.to_json("none"))["size"] == list(prediction.size)
