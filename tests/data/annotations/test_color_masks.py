"""Masks of colours: exact, nearest, and what is told of colours without a name."""

from pathlib import Path

import numpy as np
import pytest
from labelled import Labels

from topseg.core.errors import InputError
from topseg.data.annotations.colors import read_palette

SIZE = (12, 16)
PALETTE = "name,r,g,b\nroad,128,64,128\nsky,70,130,180\n"
ROAD, SKY = (128, 64, 128), (70, 130, 180)


def painted(*rows: tuple[int, int, int]) -> np.ndarray:  # type: ignore[type-arg]
    """Four rows of each colour."""
    return np.repeat(np.array(rows, np.uint8), 4 * SIZE[1], axis=0).reshape(*SIZE, 3)


def fill(labels: Labels, *rows: tuple[int, int, int]) -> None:
    labels.picture("images/a.jpg", SIZE)
    labels.mask("masks/a.png", painted(*rows))


def test_exact(labels: Labels) -> None:
    labels.text("class_dict.csv", PALETTE)
    fill(labels, SKY, ROAD, (1, 2, 3))
    summary = labels.convert()
    assert labels.classes == ["road", "sky"]
    np.testing.assert_array_equal(labels.read("images/a.png")[::4, 0], [1, 0, 255])
    assert summary.left_out == {"pixels of [1, 2, 3], 189 from road, without a class": 64}


def test_nearest_reports_what_was_far(labels: Labels) -> None:
    labels.text("palette.txt", PALETTE)
    fill(labels, (72, 128, 181), ROAD, (1, 2, 3))
    summary = labels.convert(nearest=True)
    np.testing.assert_array_equal(labels.read("images/a.png")[::4, 0], [1, 0, 0])
    assert summary.left_out == {
        "pixels taken for the nearest colour, at most 48 from it": 64,
        "pixels of [1, 2, 3], 189 from road, taken for it all the same": 64,
    }


def test_jpeg_masks_need_nearest(labels: Labels) -> None:
    labels.text("palette.txt", PALETTE)
    fill(labels, SKY, ROAD, ROAD)
    (labels.root / "masks/a.png").unlink()
    labels.mask("masks/a.jpg", painted(SKY, ROAD, ROAD))
    with pytest.raises(InputError, match="JPEG changes"):
        labels.convert()
    labels.convert(nearest=True)
    np.testing.assert_array_equal(labels.read("images/a.png")[::4, 0], [1, 0, 0])


def test_unknown_colors_are_named(labels: Labels) -> None:
    fill(labels, SKY, SKY, ROAD)
    with pytest.raises(InputError, match="NAME,70,130,180 NAME,128,64,128"):
        labels.convert(format="colors")
    labels.convert(format="colors", palette=Path("cityscapes"))
    assert labels.read("images/a.png")[::4, 0].tolist() == [10, 10, 0]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.jpg", "labels/a.png"),
        ("train/a.png", "train_labels/a_L.png"),
        ("x/a.jpg", "x/a.png"),
        ("x/a.JPG", "x/a.png"),
        ("x/a.png", "x/a_mask.png"),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png"),
        ("val/images/a.jpg", "val/masks/a.png"),
    ],
)
def test_usual_places(labels: Labels, image: str, mask: str) -> None:
    labels.text("palette.txt", PALETTE)
    labels.picture(image, SIZE)
    labels.mask(mask, painted(SKY, ROAD, ROAD))
    summary = labels.convert(format="colors")
    assert not summary.problems
    name = image.rpartition(".")[0]
    assert labels.read(f"{name}.png")[::4, 0].tolist() == [1, 0, 0]


def test_what_has_no_partner(labels: Labels) -> None:
    labels.text("palette.txt", PALETTE)
    fill(labels, SKY, ROAD, ROAD)
    labels.picture("images/b.jpg", SIZE)
    labels.mask("masks/c.png", painted(SKY, ROAD, ROAD))
    reasons = {reason for _, reason in labels.convert().problems}
    assert reasons == {"an image without a mask", "a mask without an image"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("a,1,2,3\nb,1,2\n", "line 2: got 'b,1,2', expected name,red,green,blue"),
        ("a,1,2,300\n", r"line 1: got \(1, 2, 300\)"),
        ("a,1,2,3\na,1,2,4\n", "'a' twice"),
    ],
)
def test_broken_palettes(labels: Labels, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_palette(labels.text("palette.txt", text))


def test_palettes_of_other_tools(labels: Labels) -> None:
    cvat = labels.text("a", "# label:color_rgb:parts:actions\nroad side:1,2,3::\nsky:4,5,6::\n")
    assert read_palette(cvat).names == ("road side", "sky")
    assert read_palette(cvat).palette == ((1, 2, 3), (4, 5, 6))
    camvid = labels.text("b", "Traffic Light\t0\t64\t64\nSky 128 128 128\n")
    assert read_palette(camvid).names == ("Traffic Light", "Sky")


def test_two_names_of_one_color(labels: Labels) -> None:
    labels.text("palette.txt", "a,1,2,3\nb,1,2,3\n")
    fill(labels, SKY, ROAD, ROAD)
    with pytest.raises(InputError, match="'a' and 'b' share a colour"):
        labels.convert()
