"""Statistics of a split against counts by hand, and what is suggested of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topseg.core.labels import LabelSet, default_palette
from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.statistics import SplitCounts, count_mask
from topseg.data.suggestions import suggest, suggest_crop
from topseg.recipe import read_recipe

NAMES = ("sky", "road", "pole")
LABELS = LabelSet(NAMES, default_palette(3))


def a_mask() -> Any:
    mask = np.full((200, 300), 1, np.uint8)
    mask[:120, :250] = 0  # one large object
    mask[150:170, 10:20] = 2
    mask[170, 20] = 2  # touches by a corner
    mask[150:170, 40:50] = 2
    mask[190:, 290:] = 255
    return mask


def test_objects_and_pixels_of_a_mask() -> None:
    found = count_mask(a_mask(), LABELS)
    assert found.pixels.tolist() == [30000, 30000 - 401 - 100, 401]
    assert found.ignored == 100
    assert found.objects.tolist() == [[0, 0, 1], [0, 0, 1], [2, 0, 0]]


def test_a_split_adds_up() -> None:
    split = SplitCounts.empty(3, 3)
    for mask in (a_mask(), np.zeros((20, 20), np.uint8)):
        split.add(count_mask(mask, LABELS))
    assert split.images_with.tolist() == [2, 1, 1]
    assert split.around.tolist() == [59900 + 400, 59900, 59900]
    assert split.objects.sum(axis=1).tolist() == [2, 1, 2]
    assert split.ignored == 100


def test_sizes() -> None:
    split = SplitCounts.empty(5, 3)
    assert (split.smallest, split.largest, split.usual) == (None, None, None)
    split.sizes.update({(100, 900): 1, (300, 200): 2, (250, 260): 2})
    assert (split.smallest, split.largest, split.usual) == ((300, 200), (100, 900), (250, 260))


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        ((360, 480), (352, 480)),
        ((1024, 2048), (512, 1024)),
        ((3000, 2000), (1024, 512)),
        ((500, 375), (480, 352)),
        ((20, 4000), (32, 1024)),
    ],
)
def test_a_crop_holds_what_it_may(size: Any, crop: Any) -> None:
    assert suggest_crop(size) == crop


def test_suggestions_are_settings_of_a_recipe() -> None:
    split = SplitCounts.empty(1, 3)
    split.add(count_mask(a_mask(), LABELS))
    split.sizes[360, 480] = 1
    found = suggest(split, NAMES)
    recipe = read_recipe(Path("topformer_tiny"), [*found, "data.classes=[sky,road,pole]"])
    assert recipe.train.crop == (352, 480)
    assert recipe.loss[0].class_weights == "sqrt_median_frequency"  # type: ignore[attr-defined]
    assert [*found.values()] == [
        "images of 480x360 pixels, usually",
        "'sky' covers 75 times as much of its images as 'pole' of its own",
    ]
    even = SplitCounts.empty(1, 3)
    even.add(count_mask(np.repeat(np.uint8([[0, 1, 2]]), 30, axis=0), LABELS))
    assert suggest(even, NAMES) == {}
    assert suggest(SplitCounts.empty(0, 3), NAMES) == {}


def test_the_report_as_json(tree: Any) -> None:
    for name in ("train/a", "train/b", "val/c"):
        tree.image(f"images/{name}.png", value=ord(name[-1]), size=(200, 300))
        tree.array(f"masks/{name}.png", a_mask())
    spoiled = a_mask()
    spoiled[5, 7] = 9
    tree.array("masks/train/b.png", spoiled)
    report = check(DataConfig(root=str(tree.root), classes=NAMES))
    found = json.loads(json.dumps(report.to_dict()))
    assert (found["errors"], found["warnings"]) == (1, 0)
    (problem,) = found["problems"]
    assert problem["severity"] == "error"
    assert problem["place"] == [5, 7]
    assert problem["mask"].endswith("masks/train/b.png")
    assert found["settings"] == ["ignore_index=[9, 255]"]
    train = found["splits"]["train"]
    assert train["sizes"] == [{"size": [200, 300], "images": 2}]
    pole = {"name": "pole", "pixels": 401, "images": 1}
    assert train["classes"][2] == pole | {"objects": {"small": 2, "medium": 0, "large": 0}}
    assert found["suggestions"] == [*report.suggestions]
