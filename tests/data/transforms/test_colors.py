"""Colour changes against Pillow's, and against their definition in floating point."""

import colorsys

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from PIL import ImageEnhance

from topseg.data.transforms import colors

Array = NDArray[np.uint8]


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.0, 1.1, 1.4])
@pytest.mark.parametrize(
    ("change", "enhance", "tolerance"),
    [
        (colors.brightness, ImageEnhance.Brightness, 0),
        (colors.contrast, ImageEnhance.Contrast, 0),
        (colors.saturation, ImageEnhance.Color, 1),
    ],
)
def test_blends_are_pillows(
    photo: Array, change: object, enhance: object, tolerance: int, factor: float
) -> None:
    expected = np.asarray(enhance(PIL.Image.fromarray(photo)).enhance(factor))
    difference = np.abs(change(photo, factor).astype(int) - expected)
    assert difference.max() <= tolerance


@pytest.mark.parametrize("turn", [0, 5.3, -7.6, 17.9, -17.2])
def test_hue_turns_as_in_pillows_hsv(photo: Array, turn: float) -> None:
    hue, saturation, value = PIL.Image.fromarray(photo).convert("HSV").split()
    turned = PIL.Image.fromarray((np.floor(np.float32(hue) + turn) % 256).astype(np.uint8))
    expected = np.asarray(PIL.Image.merge("HSV", (turned, saturation, value)).convert("RGB"))
    difference = np.abs(colors.hue(photo, turn).astype(int) - expected)
    assert np.quantile(difference, 0.99) <= 8


def test_hsv_saturation(photo: Array) -> None:
    changed = colors.hsv_saturation(photo, 0.5)
    for before, after in zip(photo.reshape(-1, 3)[::97], changed.reshape(-1, 3)[::97], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation / 2, value)) * 255
        np.testing.assert_allclose(after, expected, atol=4)


def test_add(photo: Array) -> None:
    np.testing.assert_array_equal(
        colors.add(photo, -20), (photo.astype(int) - 20).clip(0, 255).astype(np.uint8)
    )


def test_grey_and_many_channels_have_no_hue(photo: Array) -> None:
    for image in (photo[..., :1], np.dstack([photo, photo])):
        for change in (colors.saturation, colors.hue, colors.hsv_saturation):
            assert change(image, 1.4) is image
        half = (image * np.float32(0.5)).astype(np.uint8)
        np.testing.assert_array_equal(colors.brightness(image, 0.5), half)


def test_saturation_leaves_grey_and_factor_one_as_they_are(photo: Array) -> None:
    assert np.abs(colors.saturation(photo, 1.0).astype(int) - photo).max() == 0
    greys = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    for factor in (0.6, 1.1, 1.4):
        np.testing.assert_array_equal(colors.saturation(greys, factor), greys)
