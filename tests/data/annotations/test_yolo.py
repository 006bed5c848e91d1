"""YOLO's text files, filled by OpenCV as Ultralytics does."""

import cv2
import numpy as np
import pytest
from labelled import Labels

from topseg.core.errors import InputError

SIZE = (40, 60)


def write(labels: Labels, *lines: str, name: str = "train/a") -> None:
    labels.text("data.yaml", "train: images/train\nnames:\n  0: road\n  2: car\n")
    labels.picture(f"images/{name}.jpg", SIZE)
    labels.text(f"labels/{name}.txt", "".join(f"{line}\n" for line in lines))


def test_smaller_ones_above(labels: Labels) -> None:
    rng = np.random.default_rng(0)
    rings = [rng.random((6, 2)) * side for side in (0.4, 1.0, 0.7)]
    numbers = (2, 0, 2)
    lines = [
        " ".join([str(number), *(f"{value:.6f}" for value in ring.ravel())])
        for number, ring in zip(numbers, rings, strict=True)
    ]
    write(labels, *lines, "0 0.5 0.5 0.2 0.2", "")
    labels.picture("images/val/b.jpg", SIZE)
    summary = labels.convert()
    masks = []
    for ring in rings:
        own = np.zeros(SIZE, np.uint8)
        corners = (np.round(ring, 6) * [SIZE[1], SIZE[0]]).astype(np.int32)
        masks.append(cv2.fillPoly(own, [corners], 1).astype(np.bool_))
    expected = np.zeros(SIZE, np.uint8)
    for index in sorted(range(3), key=lambda index: -int(masks[index].sum())):
        expected[masks[index]] = numbers[index] + 1
    assert labels.classes == ["background", "road", "class 1", "car"]
    np.testing.assert_array_equal(labels.read("images/train/a.png"), expected)
    assert not labels.read("images/val/b.png").any()
    assert summary.images == {"train": 1, "val": 1}
    assert summary.left_out == {"a box, which has no outline": 1}
    assert any("show nothing: 1" in line for line in labels.said)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("road 0 0 1 0 1 1", "line 1: got 'road 0 0 1 0 1 1', expected a class's number"),
        ("7 0 0 1 0 1 1", "got class 7, expected 0 to 2"),
        ("0 0 0 1 0 1 y", "expected a class's number and x, y"),
    ],
)
def test_broken_lines(labels: Labels, line: str, text: str) -> None:
    write(labels, line)
    with pytest.raises(InputError, match=text):
        labels.convert()


@pytest.mark.parametrize("line", ["0 0 0 1 0 1 1 1", "0 0 0 1e9 0 1 1", "0 nan 0 1 0 1 1", "0"])
def test_broken_outlines_are_counted(labels: Labels, line: str) -> None:
    write(labels, line, "0 0 0 1 0 1 1")
    assert sum(labels.convert().left_out.values()) == 1


def test_no_names(labels: Labels) -> None:
    write(labels, "0 0 0 1 0 1 1")
    labels.text("data.yaml", "train: images\n")
    with pytest.raises(InputError, match=r"no names; expected data\.yaml"):
        labels.convert(format="yolo")
    labels.text("classes.txt", "road\ncar\n")
    labels.convert(format="yolo")
    assert labels.classes == ["background", "road", "car"]
