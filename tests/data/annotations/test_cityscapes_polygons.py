"""Cityscapes' polygons, filled as its own scripts fill them."""

from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from labelled import Labels

from topseg.core.errors import InputError

SIZE = (60, 90)
BASE = "aachen_000000_000019"
TRAIN_IDS = {"road": 0, "building": 2, "car": 13, "static": 255, "rectification border": 255}


def write(labels: Labels, objects: list[dict[str, Any]], name: str = BASE) -> None:
    labels.picture(f"leftImg8bit/train/aachen/{name}_leftImg8bit.png", SIZE)
    tree = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
    labels.json(f"gtFine/train/aachen/{name}_gtFine_polygons.json", tree)


def test_as_its_own_label_images(labels: Labels) -> None:
    rng = np.random.default_rng(0)
    names = ["road", "building", "cargroup", "license plate", "static", "rectification border"]
    objects = [
        {"label": names[i % 6], "polygon": rng.integers(-5, 95, (7, 2)).tolist()} for i in range(18)
    ]
    objects.append({"label": "road", "polygon": [[0, 0], [90, 0], [90, 60]], "deleted": 1})
    write(labels, objects)
    summary = labels.convert()
    picture = PIL.Image.new("L", SIZE[::-1], 255)
    pen = PIL.ImageDraw.Draw(picture)
    for one in objects[:-1]:
        name = one["label"].removesuffix("group")
        if name != "license plate":
            pen.polygon([tuple(point) for point in one["polygon"]], fill=TRAIN_IDS[name])
    assert len(labels.classes) == 19
    mask = labels.read(f"leftImg8bit/train/aachen/{BASE}_leftImg8bit.png")
    np.testing.assert_array_equal(mask, np.asarray(picture))
    assert summary.left_out == {"a region that was deleted": 1}
    assert any(line.startswith("license plate") and "left out" in line for line in labels.said)


def test_names_of_ones_own(labels: Labels) -> None:
    write(labels, [{"label": "crack", "polygon": [[0, 0], [9, 0], [9, 9]]}])
    labels.convert()
    assert labels.classes == ["crack"]


def test_image_that_is_missing(labels: Labels) -> None:
    write(labels, [{"label": "road", "polygon": [[0, 0], [9, 0], [9, 9]]}])
    next(labels.root.rglob("*.png")).unlink()
    labels.picture("other.png")
    with pytest.raises(InputError, match=f"no image {BASE}_leftImg8bit.png"):
        labels.convert()
