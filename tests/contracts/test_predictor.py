"""What a Predictor does with any runtime: the fake one, and a small network in PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Slide, Views
from topseg.inference.upsample import upsample_argmax
from topseg.runtimes.base import Runtime

RULE = ResizeRule(short_side=64, max_long_side=256, multiple=64)
EXIF_ORIENTATION = 0x0112


@pytest.fixture(params=["fake", "torch"])
def runtime(request: pytest.FixtureRequest, make_runtime: Callable[..., Any]) -> Runtime:
    fake: Runtime = make_runtime(resize=RULE)
    if request.param == "fake":
        return fake
    torch = pytest.importorskip("torch")
    from topseg.models import create_model
    from topseg.runtimes.torch import TorchRuntime

    torch.manual_seed(0)
    return TorchRuntime(create_model("topformer_tiny", num_classes=3), fake.metadata)


@pytest.mark.parametrize("size", [(64, 64), (96, 130), (33, 301), (700, 31), (1, 1), (2, 90)])
def test_mask_has_the_images_own_size(runtime: Runtime, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    prediction = Predictor(runtime)(image)
    assert prediction.mask.shape == prediction.size == size
    assert prediction.mask.dtype == np.uint8
    assert prediction.mask.max() < 3
    assert prediction.logits is None


def test_mask_is_the_tail_of_the_logits(runtime: Runtime, photo: NDArray[np.uint8]) -> None:
    predictor = Predictor(runtime)
    resized = cv2.resize(photo, (64, 64), interpolation=cv2.INTER_LINEAR)
    logits = predictor.logits(photo)
    np.testing.assert_array_equal(logits, runtime(resized[None])[0])
    assert (logits.shape, logits.dtype) == ((3, 8, 8), np.float32)
    expected = upsample_argmax(logits, photo.shape[:2])
    np.testing.assert_array_equal(predictor(photo).mask, expected)
    np.testing.assert_array_equal(predictor(photo, keep_logits=True).logits, logits)


def test_rule_may_be_replaced(runtime: Runtime, photo: NDArray[np.uint8]) -> None:
    rule = ResizeRule(short_side=128, multiple=32, round="up")
    assert Predictor(runtime, rule).logits(photo).shape == (3, 16, 24)


def test_arrays_files_and_pillow_images_are_one(
    runtime: Runtime, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    predictor = Predictor(runtime)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    mask = predictor(photo).mask
    for same in (
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        Image.fromarray(photo),
        Image.fromarray(photo).convert("RGBA"),
        np.asfortranarray(photo),
    ):
        np.testing.assert_array_equal(predictor(same).mask, mask)


def test_turned_photos_are_seen_upright(
    runtime: Runtime, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # stored turned left, shown turned right
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(photo)))
    stored.save(tmp_path / "turned.png", exif=exif)
    stored.save(tmp_path / "turned.tif", exif=exif)
    # Beside the turn, a value that Pillow reads and cannot write.
    tags = b"\1\x12\0\3\0\0\0\1\0\6\0\0" + b"\1\x1a\0\x09\0\0\0\1\xff\xff\xff\xff"
    stored.save(tmp_path / "odd.png", exif=b"MM\0*\0\0\0\x08\0\2" + tags + bytes(4))
    expected = Predictor(runtime)(photo).mask
    for name in ("turned.png", "turned.tif", "odd.png"):
        np.testing.assert_array_equal(Predictor(runtime)(tmp_path / name).mask, expected)
        with Image.open(tmp_path / name) as picture:
            np.testing.assert_array_equal(Predictor(runtime)(picture).mask, expected)


def test_image_is_left_as_it_was(runtime: Runtime, photo: NDArray[np.uint8]) -> None:
    before = photo.copy()
    photo.flags.writeable = False
    Predictor(runtime, views=Views(flip=True))(photo)
    np.testing.assert_array_equal(photo, before)


def test_views_give_one_mask_of_the_images_size(runtime: Runtime, photo: NDArray[np.uint8]) -> None:
    views = Views(flip=True, scales=(1.0, 2.0), slide=Slide((64, 64), (32, 64)))
    predictor = Predictor(runtime, views=views)
    assert predictor.logits(photo).shape == (3, 16, 16)
    assert predictor(photo).size == photo.shape[:2]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(64, np.uint8), "expected (height, width, 3) uint8"),
        (np.zeros((64, 64, 5), np.uint8), "expected (height, width, 3) uint8"),
        (np.zeros((64, 64, 3), np.float32), "float32, expected"),
        (np.zeros((64, 64, 3), np.uint16), "uint16, expected"),
        (np.zeros((0, 64, 3), np.uint8), "empty"),
        (Image.fromarray(np.zeros((64, 64), np.uint16)), "uint16, expected"),
        ("nowhere.jpg", "nowhere.jpg: no such file"),
    ],
)
def test_images_that_cannot_be(runtime: Runtime, image: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Predictor(runtime)(image)
    assert message in str(caught.value)
