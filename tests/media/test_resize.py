"""Resizing: OpenCV's bytes, from the extension and from NumPy; float planes too."""

import cv2
import numpy as np
import pytest

from topseg.inference.upsample import implementations
from topseg.media import resize
from topseg.media.resize import resize_by_numpy, resize_image, resize_planes

SIZES = [
    ((1, 1), (4, 3)),
    ((5, 7), (5, 9)),
    ((40, 60), (64, 96)),
    ((64, 96), (32, 48)),  # an exact half
    ((64, 96), (32, 64)),
    ((97, 131), (33, 31)),
    ((480, 640), (512, 704)),
    ((700, 1000), (448, 640)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_bytes_are_opencvs(
    before: tuple[int, int], after: tuple[int, int], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(before[0]).integers(0, 256, (*before, channels), np.uint8)
    expected = cv2.resize(image, after[::-1], interpolation=cv2.INTER_LINEAR)
    expected = expected.reshape(*after, channels)
    np.testing.assert_array_equal(resize_by_numpy(image, after), expected)
    np.testing.assert_array_equal(resize_image(image, after), expected)
    monkeypatch.setattr(resize, "_native", None)
    np.testing.assert_array_equal(resize_image(image, after), expected)


@pytest.mark.parametrize("level", [0, 255])
def test_even_images_stay_even(level: int) -> None:
    image = np.full((33, 47, 3), level, np.uint8)
    assert np.unique(resize_image(image, (64, 64))).tolist() == [level]


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_images_keep_their_channels(channels: int) -> None:
    image = np.full((10, 20, channels), 9, np.uint8)
    assert resize_image(image, (32, 64)).shape == (32, 64, channels)
    assert resize_image(image[:, ::-1], (10, 20)).flags.c_contiguous
    ramp = np.arange(600, dtype=np.uint8).reshape(10, 20, 3)[:, ::-1]
    copied = resize_image(np.ascontiguousarray(ramp), (7, 9))
    np.testing.assert_array_equal(resize_image(ramp, (7, 9)), copied)


@pytest.mark.skipif(implementations() == ("numpy",), reason="the extension is not built")
def test_extension_checks_its_buffers() -> None:
    from topseg import _native

    image, out = np.zeros((4, 5, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="does not match"):
        _native.resize_image(image, (4, 6, 3), out, (2, 2))
    with pytest.raises(ValueError, match="does not match"):
        _native.resize_image(image, (4, 5, 3), out, (2, 3))
    with pytest.raises(ValueError, match="below 1"):
        _native.resize_image(image, (4, 5, 3), out, (0, 3))


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_planes_are_opencvs(before: tuple[int, int], after: tuple[int, int]) -> None:
    planes = np.random.default_rng(0).normal(0, 9, (3, *before)).astype(np.float32)
    expected = [cv2.resize(p, after[::-1], interpolation=cv2.INTER_LINEAR) for p in planes]
    found = resize_planes(planes, after)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), (3, *after))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert resize_planes(planes, before) is planes
