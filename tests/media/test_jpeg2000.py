"""JPEG 2000: samples as they are stored, by imagecodecs or not at all."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.masks import MaskReader
from topseg.media.images import decode_image, read_size
from topseg.media.jpeg2000 import read_jpeg2000

imagecodecs = pytest.importorskip("imagecodecs")

SCENE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
DEEP = imagecodecs.jpeg2k_encode(SCENE.astype(np.uint16) * 257, reversible=True)
LABELS = LabelSet(tuple("abcd"), tuple((i, 0, 0) for i in range(4)))


def saved(pixels: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.asarray(pixels)).save(buffer, "JPEG2000", **options)
    return buffer.getvalue()


def test_components_are_taken_as_they_are() -> None:
    assert (decode_image(DEEP, "a", 3, 1 / 257) == SCENE).all()
    five = np.concatenate([SCENE, SCENE[..., :2]], axis=2)
    data = imagecodecs.jpeg2k_encode(five, reversible=True)
    assert (decode_image(data, "a", 5) == five).all()
    assert (decode_image(data, "a", 3) == SCENE).all()
    grey_alpha = saved(SCENE[..., :2])
    assert (decode_image(grey_alpha, "a", 3) == SCENE[..., :1]).all()


def test_colours_become_grey() -> None:
    grey = decode_image(saved(SCENE), "a", 1)
    expected = SCENE.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(grey[..., 0] - expected).max() <= 1


def test_more_than_8_bits_need_a_scale() -> None:
    with pytest.raises(InputError, match=r"got uint16 values.*input\.scale"):
        decode_image(DEEP, "a", 3)


@pytest.mark.parametrize("end", [30, 100, 200, -500])
def test_a_part_of_a_file_is_an_error(end: int) -> None:
    with pytest.raises(InputError, match=r"^a: (not readable as an image|truncated)"):
        decode_image(DEEP[:end], "a", 3, 1 / 257)


def test_no_memory_is_taken_for_what_is_claimed() -> None:
    at = DEEP.index(b"\xff\x4f\xff\x51") + 8  # width and height on the canvas
    for side, text in ((2**20, "GiB, expected 2 at most"), (2**14, "truncated")):
        data = DEEP[:at] + side.to_bytes(4, "big") * 2 + DEEP[at + 8 :]
        with pytest.raises(InputError, match=text):
            read_jpeg2000(data, "a")


def test_size_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    path.write_bytes(DEEP)
    assert read_size(path) == (24, 40)


def test_without_imagecodecs_8_bits_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("topseg.media.jpeg2000.find_spec", lambda name: None)
    assert (decode_image(saved(SCENE), "a", 3) == SCENE).all()
    with pytest.raises(InputError, match=r"16 bits needs another package; pip install"):
        decode_image(DEEP, "a", 3, 1 / 257)


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_masks_keep_their_numbers(bits: int, tmp_path: Path) -> None:
    path, mask = tmp_path / "m.jp2", SCENE[..., 0] % 4
    kind = np.uint16 if bits > 8 else np.uint8
    path.write_bytes(
        imagecodecs.jpeg2k_encode(mask.astype(kind), bitspersample=bits, reversible=True)
    )
    assert (MaskReader(LABELS)(path) == mask).all()
