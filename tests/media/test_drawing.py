"""Colours, palette files and legends."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette
from topseg.media import drawing

MASK = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)


def _many(count: int) -> LabelSet:
    return LabelSet(tuple(map(str, range(count))), default_palette(count))


def test_colors_are_the_palettes(labels: LabelSet) -> None:
    picture = drawing.colorize(MASK, labels)
    expected = [[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(0, 0, 255), (0, 0, 0), (255, 0, 0)]]
    assert picture.tolist() == np.array(expected).tolist()


def test_colors_above_255_classes() -> None:
    labels = _many(300)
    mask = np.array([[299, 65535]], np.uint16)
    assert drawing.colorize(mask, labels).tolist() == [[list(labels.palette[299]), [0, 0, 0]]]


def test_overlay_mixes_and_leaves_the_rest(labels: LabelSet) -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    mixed = drawing.overlay(image, MASK, labels, alpha=0.4)
    assert mixed[0, 0].tolist() == [162, 60, 60]
    assert mixed[1, 1].tolist() == [100, 100, 100]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_overlays_are_rounded_as_opencvs(labels: LabelSet, alpha: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (70, 50, 3), np.uint8)
    mask = rng.integers(0, 3, (70, 50), np.uint8)
    expected = cv2.addWeighted(image, 1 - alpha, drawing.colorize(mask, labels), alpha, 0)
    np.testing.assert_array_equal(drawing.overlay(image, mask, labels, alpha), expected)


@pytest.mark.parametrize("quality", [75, 90])
def test_jpegs_are_opencvs(quality: int) -> None:
    small = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    picture = cv2.resize(small, (91, 67), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    found, expected = (
        np.asarray(Image.open(io.BytesIO(one)))
        for one in (drawing.picture_jpeg(picture, quality), data.tobytes())
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [1, 3, 16, 150, 255, 256, 1000])
def test_mask_files_read_back(count: int) -> None:
    labels = _many(count)
    mask = np.random.default_rng(0).integers(0, count, (9, 7)).astype(labels.dtype)
    mask[0, 0] = labels.ignore_index
    read = Image.open(io.BytesIO(drawing.mask_png(mask, labels)))
    assert read.mode == ("P" if count <= 255 else "I;16")
    np.testing.assert_array_equal(np.asarray(read), mask)
    if count <= 255:
        np.testing.assert_array_equal(
            np.asarray(read.convert("RGB")), drawing.colorize(mask, labels)
        )


def test_pictures_read_back(labels: LabelSet) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = (200, 30, 90)
    png = np.asarray(Image.open(io.BytesIO(drawing.picture_png(picture))))
    np.testing.assert_array_equal(png, picture)
    jpeg = np.asarray(Image.open(io.BytesIO(drawing.picture_jpeg(picture))))
    assert np.abs(jpeg[:, 24:].astype(int) - picture[:, 24:]).max() <= 3


@pytest.mark.parametrize("count", [1, 3, 150, 255, 256, 1000])
def test_pixels_are_counted(count: int) -> None:
    labels = _many(count)
    mask = np.random.default_rng(0).integers(0, count, (90, 70)).astype(labels.dtype)
    expected = np.bincount(mask[1:].ravel(), minlength=count)
    mask[0] = labels.ignore_index
    np.testing.assert_array_equal(drawing.count_pixels(mask, labels), expected)


def test_masks_of_runs_make_small_files() -> None:
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 200:500] = 7
    assert len(drawing.mask_png(mask, _many(150))) < 2500  # the palette alone takes 780


def test_shares_and_legend(labels: LabelSet) -> None:
    found = drawing.shares(np.array([1, 0, 3]), labels)
    assert [(s.name, s.share) for s in found] == [("blue", 0.75), ("red", 0.25)]
    assert drawing.legend_text(found) == " 75.00 %  blue\n 25.00 %  red"
    picture = drawing.legend_image(found, width=140, line=24)
    assert picture.shape == (48, 140, 3), "one row each, as both have no room in one"
    assert picture[12, 20].tolist() == [0, 0, 255]
    assert picture[36, 20].tolist() == [255, 0, 0]
    assert (picture[:, 60:] < 128).any(), "the names are written"
    assert drawing.legend_image(found, width=400, line=24).shape == (24, 400, 3)


def test_legend_of_a_long_name_is_cut_off() -> None:
    labels = LabelSet(("a very long class name, " * 6,), ((1, 2, 3),))
    picture = drawing.legend_image(drawing.shares(np.array([5]), labels))
    assert picture.shape == (24, 320, 3)
    assert (picture[:, -4:] == 255).all(), "the text ends inside"


def test_a_legend_goes_below(labels: LabelSet) -> None:
    photo = np.full((40, 300, 3), 9, np.uint8)
    picture = drawing.add_legend(photo, drawing.shares(np.array([1, 0, 3]), labels))
    np.testing.assert_array_equal(picture[:40], photo)
    assert picture.shape == (56, 300, 3)


def test_jpeg_has_its_limit() -> None:
    with pytest.raises(InputError, match="at most 65500 pixels; take PNG"):
        drawing.picture_jpeg(np.zeros((1, 65501, 3), np.uint8))
    assert len(drawing.picture_png(np.zeros((1, 65501, 3), np.uint8))) > 0
