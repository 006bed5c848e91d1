"""Every source is recognized as what it is, and nothing else is."""

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_cityscapes_polygons as cityscapes
import test_coco as coco
import test_cvat as cvat
import test_labelme as labelme
import test_labelstudio as labelstudio
import test_panoptic as panoptic
import test_supervisely as supervisely
import test_yolo as yolo
from labelled import Labels

from topseg.cli import main
from topseg.core.errors import InputError
from topseg.data.annotations import recognize_format

TRIANGLE = [[0, 0], [9, 0], [9, 9]]


def write_labelme(labels: Labels) -> None:
    labels.picture("a.jpg", labelme.SIZE)
    bits = labelme.encoded(np.eye(10))
    mask = {"label": "y", "points": [[2, 2], [11, 11]], "shape_type": "mask", "mask": bits}
    labelme.write(labels, "a", [{"label": "x", "points": TRIANGLE}, mask])


def write_studio(labels: Labels) -> None:
    labels.picture("a.jpg", labelstudio.SIZE)
    stroke = np.zeros(labelstudio.SIZE, np.bool_)
    stroke[5:9, 4:9] = True
    polygon = labelstudio.result("polygonlabels", "x", points=TRIANGLE)
    brush = labelstudio.result("brushlabels", "y", rle=labelstudio.brush(stroke))
    labels.json("tasks.json", [labelstudio.task("a.jpg", polygon, brush)])


def write_coco(labels: Labels) -> None:
    runs = {"size": list(coco.SIZE), "counts": [100, 50, 4650]}
    regions = [{"segmentation": coco.square(5, 5, 9)}, {"segmentation": runs, "iscrowd": 1}]
    coco.write(labels, [{"category_id": 2, **region} for region in regions])


def write_supervisely(labels: Labels) -> None:
    bits = {"data": supervisely.encoded(np.eye(9)), "origin": [3, 3]}
    points = {"exterior": TRIANGLE, "interior": [[[1, 1], [3, 1], [3, 3]]]}
    region = supervisely.region
    supervisely.write(
        labels, region("polygon", "road", points=points), region("bitmap", "car", bitmap=bits)
    )


WRITERS: dict[str, Callable[[Labels], None]] = {
    "coco": write_coco,
    "coco-panoptic": lambda labels: panoptic.write(
        labels, np.full(panoptic.SIZE, 7), [{"id": 7, "category_id": 90}]
    ),
    "labelme": write_labelme,
    "cvat": lambda labels: cvat.write(labels, cvat.polygon("car", TRIANGLE)),
    "labelstudio": write_studio,
    "supervisely": write_supervisely,
    "yolo": lambda labels: yolo.write(labels, "0 0 0 1 0 1 1"),
    "cityscapes": lambda labels: cityscapes.write(labels, [{"label": "car", "polygon": TRIANGLE}]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_by_its_files(labels: Labels, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS[name](labels)
    assert [one.name for one in recognize_format(labels.root)] == [name]
    if name != "cityscapes":  # which is a layout as well
        assert main(["check", str(labels.root)]) == 2
        assert f"topseg data convert {labels.root} " in capsys.readouterr().err
    labels.convert()
    assert not recognize_format(labels.out)


def test_one_file_of_several(labels: Labels, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(labels)
    write_studio(labels)
    with pytest.raises(InputError, match="choose --format coco or --format labelstudio"):
        labels.convert()
    assert main(["check", str(labels.root / "tasks.json")]) == 2
    assert "labels of Label Studio" in capsys.readouterr().err
    labels.convert("tasks.json")


@pytest.mark.parametrize("text", ["{}", "[]", '{"images": [], "categories": []}', "no JSON"])
def test_other_files(labels: Labels, text: str) -> None:
    labels.picture("images/a.jpg")
    labels.mask("masks/a.png", np.zeros((60, 80), np.uint8))
    labels.text("notes.json", text)
    labels.text("notes.xml", text)
    assert not recognize_format(labels.root)


def test_archives(labels: Labels) -> None:
    labels.text("labels.zip", "PK")
    with pytest.raises(InputError, match="unpack it"):
        labels.convert("labels.zip")


VALUES = (-1, 0, 1e308, 10**30, 2**63, None, [], {}, "x", True, "..", "/etc/passwd", "\0", 6.5)
VALUES += (2**32, 65536, "", [[]], [[1]], [None], "a" * 3000, 1e-320)  # type: ignore[assignment]


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [place for key in keys for place in ((tree, key), *places(tree[key]))]


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("cvat", "yolo")])
def test_any_value_is_taken_or_refused(labels: Labels, name: str) -> None:
    """Whatever stands in a file, the result is a data set or one line."""
    WRITERS[name](labels)
    files = sorted(labels.root.rglob("*.json"))
    sound = {file: file.read_text() for file in files}
    rng = random.Random(name)
    refused = []
    for case in range(40):
        file = rng.choice(files)
        tree = json.loads(sound[file])
        container, key = rng.choice(places(tree))
        container[key] = rng.choice(VALUES)
        file.write_text(json.dumps(tree))
        labels.out = labels.root.with_name(f"out{case}")
        try:
            labels.convert(format=name)
        except InputError as error:
            refused.append(str(error))
        file.write_text(sound[file])
    assert refused
    assert not any("\n" in text for text in refused)
    assert all(path.name.startswith(("src", "out")) for path in labels.root.parent.iterdir())
