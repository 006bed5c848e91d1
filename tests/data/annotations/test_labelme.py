"""LabelMe files, drawn as LabelMe draws them."""

import base64
import io
import math
import re
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from labelled import Labels

from topseg.core.errors import InputError

SIZE = (60, 80)


def write(labels: Labels, name: str, shapes: list[dict[str, Any]], **more: Any) -> None:
    tree = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg"}
    tree |= {"imageData": "A" * 3_000_000, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    labels.json(f"{name}.json", tree | more)


def encoded(bits: Any) -> str:
    file = io.BytesIO()
    PIL.Image.fromarray(bits.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_shapes_by_the_rules_of_labelme(labels: Labels) -> None:
    """Its own masks: Pillow's figures with outline, in the order of the file."""
    rng = np.random.default_rng(0)
    bits = rng.random((11, 14)) > 0.5
    star = rng.uniform(0, 60, (9, 2)).tolist()
    labels.picture("a.jpg", SIZE)
    write(
        labels,
        "a",
        [
            {"label": "road", "points": [[4.5, 9], [70.2, 50]], "shape_type": "rectangle"},
            {"label": "sky", "points": star, "shape_type": "polygon"},
            {"label": "road", "points": [[40, 30], [47.5, 33]], "shape_type": "circle"},
            {
                "label": "car",
                "points": [[20, 12], [33, 22]],
                "shape_type": "mask",
                "mask": encoded(bits),
            },
            {"label": "car", "points": [[1, 2]], "shape_type": "point"},
            {"label": "__ignore__", "points": [[50, 2], [60, 2], [60, 9]]},
        ],
    )
    summary = labels.convert()
    picture = PIL.Image.new("L", SIZE[::-1])
    pen = PIL.ImageDraw.Draw(picture)
    pen.rectangle([(4.5, 9), (70.2, 50)], outline=2, fill=2)
    pen.polygon([tuple(point) for point in star], outline=3, fill=3)
    radius = math.sqrt(7.5**2 + 3**2)
    pen.ellipse([40 - radius, 30 - radius, 40 + radius, 30 + radius], outline=2, fill=2)
    expected = np.array(picture)
    expected[12:23, 20:34][bits] = 1
    corner = PIL.Image.new("1", SIZE[::-1])
    PIL.ImageDraw.Draw(corner).polygon([(50, 2), (60, 2), (60, 9)], outline=1, fill=1)
    expected[np.asarray(corner)] = 255
    assert labels.classes == ["background", "car", "road", "sky"]
    np.testing.assert_array_equal(labels.read("a.png"), expected)
    assert summary.left_out == {"a point, which has no area": 1}
    assert any(re.fullmatch("__ignore__ +ignore +no class in this format", s) for s in labels.said)


def test_images_elsewhere(labels: Labels) -> None:
    corner = [{"label": "x", "points": [[0, 0], [9, 0], [9, 9]]}]
    for name in ("images/b.jpg", "json/c.png", "json/d.jpg"):
        labels.picture(name, SIZE)
    write(labels, "json/b", corner, imagePath="..\\images\\b.jpg")
    write(labels, "json/c", corner, imagePath="C:\\Users\\me\\c.png")
    write(labels, "json/d", corner, imagePath="../../../etc/renamed.jpg")
    write(labels, "json/e", corner, imagePath="e.jpg")
    summary = labels.convert()
    assert sorted(line.split("\t")[1] for line in lists(labels)) == [
        "masks/images/b.png",
        "masks/json/c.png",
        "masks/json/d.png",
    ]
    assert "no image 'e.jpg'" in summary.problems[0][1]


def lists(labels: Labels) -> list[str]:
    return (labels.out / "train.txt").read_text().splitlines()


def test_one_broken_file_stops_no_other(labels: Labels) -> None:
    labels.picture("a.jpg", SIZE)
    write(labels, "a", [{"label": "x", "points": [[0, 0], [9, 0], [9, 9]]}])
    write(labels, "b", [{"label": "x", "points": [[0, "left"]]}])
    ((file, problem),) = labels.convert().problems
    assert file.endswith("b.json")
    assert "shapes.0.points.0.1: got 'left', expected" in problem


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (None, "without its pixels"),
        ("%%%", "cannot be read"),
        (base64.b64encode(b"no picture").decode(), "cannot be read"),
    ],
)
def test_broken_bitmaps(labels: Labels, mask: str | None, text: str) -> None:
    labels.picture("a.jpg", SIZE)
    shape = {"label": "x", "points": [[0, 0], [3, 3]], "shape_type": "mask", "mask": mask}
    write(labels, "a", [shape, {"label": "x", "points": [[0, 0], [9, 0], [9, 9]]}])
    (reason,) = labels.convert().left_out
    assert text in reason


def test_turned_pictures(labels: Labels) -> None:
    """Labels made on the pixels as they are stored are turned as the picture will be."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for name in ("stored", "upright"):
        labels.picture(f"{name}.jpg", SIZE, exif=exif)
    rectangle = {"label": "x", "points": [[0, 0], [29, 9]], "shape_type": "rectangle"}
    write(labels, "stored", [rectangle])
    write(labels, "upright", [rectangle], imageHeight=SIZE[1], imageWidth=SIZE[0])
    labels.convert()
    stored = np.zeros(SIZE, np.uint8)
    stored[:10, :30] = 1
    np.testing.assert_array_equal(labels.read("stored.png"), np.rot90(stored, -1))
    upright = np.zeros(SIZE[::-1], np.uint8)
    upright[:10, :30] = 1
    np.testing.assert_array_equal(labels.read("upright.png"), upright)


def test_labels_of_another_size(labels: Labels) -> None:
    labels.picture("a.jpg", (30, 40))
    write(labels, "a", [{"label": "x", "points": [[0, 0], [9, 0], [9, 9]]}])
    with pytest.raises(InputError, match="40x30 pixels, and its labels are for 80x60"):
        labels.convert()
