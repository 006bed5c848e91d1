"""Reading images: upright, whole, 8-bit, of the channel count that was asked for."""

import io
import re
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.features
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.installing import pip_install
from topseg.media.images import (
    decode_image,
    is_image,
    is_whole,
    read_image,
    read_orientation,
    read_size,
)
from topseg.media.tiff import upright

Array = NDArray[np.uint8]


@pytest.fixture
def pixels() -> Array:
    noise = np.random.default_rng(0).integers(0, 256, (10, 15, 3), np.uint8)
    return cv2.resize(noise, (60, 40), interpolation=cv2.INTER_CUBIC)


def save(path: Path, pixels: Array, orientation: int = 1, **options: object) -> Path:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_formats_give_their_own_pixels(tmp_path: Path, pixels: Array, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_image(path), pixels)
    assert read_size(path) == (40, 60)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_orientation(tmp_path: Path, pixels: Array, suffix: str, orientation: int) -> None:
    path = save(tmp_path / f"a.{suffix}", pixels, orientation)
    plain = read_image(save(tmp_path / f"b.{suffix}", pixels))
    turned = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.swapaxes(0, 1),
        6: np.rot90(plain, -1),
        7: np.rot90(plain, 2).swapaxes(0, 1),
        8: np.rot90(plain),
    }[orientation]
    np.testing.assert_array_equal(read_image(path), turned)
    assert read_size(path) == turned.shape[:2]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_four_channels_are_turned_too(tmp_path: Path, pixels: Array, orientation: int) -> None:
    rgba = np.dstack([pixels, pixels[..., 0]])
    image = read_image(save(tmp_path / "a.png", rgba, orientation), channels=4)
    turns = {1: 0, 3: 2, 6: -1, 8: 1}
    np.testing.assert_array_equal(image, np.rot90(rgba, turns[orientation]))
    colors = save(tmp_path / "b.png", pixels, orientation)
    np.testing.assert_array_equal(image[..., :3], read_image(colors))


def test_grey_and_color_become_each_other(tmp_path: Path, pixels: Array) -> None:
    grey, color = tmp_path / "grey.png", tmp_path / "color.png"
    PIL.Image.fromarray(pixels[..., 0]).save(grey)
    PIL.Image.fromarray(pixels).save(color)
    np.testing.assert_array_equal(read_image(grey), np.dstack([pixels[..., 0]] * 3))
    np.testing.assert_array_equal(read_image(grey, channels=1)[..., 0], pixels[..., 0])
    assert read_image(color, channels=1).shape == (40, 60, 1)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_more_than_8_bits_need_a_scale(
    tmp_path: Path, pixels: Array, suffix: str, dtype: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    wide = pixels.astype(dtype) * 16
    if suffix == "npy":
        np.save(path, wide)
    else:
        cv2.imwrite(str(path), wide[..., ::-1])
    with pytest.raises(InputError, match=rf"a.{suffix}: got {dtype} values, .*input.scale"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, scale=1 / 16), pixels)


def test_scale_clips_and_leaves_bytes_alone(tmp_path: Path, pixels: Array) -> None:
    np.save(tmp_path / "a.npy", np.array([[[-3.0, np.nan, 300.0]]]))
    assert read_image(tmp_path / "a.npy", scale=1).tolist() == [[[0, 0, 255]]]
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(path, scale=0.5), pixels)


def test_arrays_have_any_number_of_channels(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 9, 7), np.uint8)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", channels=7), array)
    assert read_size(tmp_path / "a.npy") == (8, 9)
    with pytest.raises(InputError, match=r"got 7 channels, expected 3 \(model.in_channels\)"):
        read_image(tmp_path / "a.npy")
    np.save(tmp_path / "flat.npy", array[..., 0])
    assert read_image(tmp_path / "flat.npy", channels=1).shape == (8, 9, 1)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.9, -1])
def test_truncated_jpeg(tmp_path: Path, pixels: Array, progressive: bool, kept: float) -> None:
    large = cv2.resize(pixels, (640, 480))
    data = save(tmp_path / "a.jpg", large, progressive=progressive).read_bytes()
    assert is_whole(data)
    assert is_whole(data + b"\0 a maker's own bytes \xff\xda")
    cut = data[: int(kept * len(data)) if kept > 0 else -1]
    for rest in (b"", bytes(len(data) - len(cut))):  # cut off, or filled up with zeros
        (tmp_path / "cut.jpg").write_bytes(cut + rest)
        with pytest.raises(InputError, match=r"cut.jpg: truncated"):
            read_image(tmp_path / "cut.jpg")


def test_thumbnail_does_not_hide_a_truncation(tmp_path: Path, pixels: Array) -> None:
    thumbnail = save(tmp_path / "small.jpg", pixels).read_bytes()
    data = save(tmp_path / "a.jpg", cv2.resize(pixels, (640, 480))).read_bytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = data[:2] + segment + data[2:]
    assert is_whole(data)
    assert not is_whole(data[: len(data) * 3 // 4])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_other_truncated_formats(tmp_path: Path, pixels: Array, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(cv2.resize(pixels, (640, 480))).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=rf"a.{suffix}: (truncated|not readable as an image)"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jpg", None, "none.jpg: no such file"),
        ("empty.jpg", b"", "empty.jpg: the file is empty"),
        ("text.jpg", b"not an image", "text.jpg: not readable as an image"),
        ("text.npy", b"not an array", "text.npy: not readable as a NumPy array"),
        ("folder.png", "folder", "folder.png: cannot be read"),
    ],
)
def test_unreadable(tmp_path: Path, name: str, content: bytes | str | None, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(InputError, match=message):
        read_image(path)
    with pytest.raises(InputError, match=name):
        read_size(path)


def test_wrong_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2, 2), np.uint8))
    with pytest.raises(InputError, match=r"got shape \(2, 2, 2, 2\), expected \(height, width"):
        read_image(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((2, 2, 3), bool))
    with pytest.raises(InputError, match="got bool values, expected numbers"):
        read_image(tmp_path / "b.npy")
    PIL.Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match="got 3 channels, expected 4"):
        read_image(tmp_path / "c.png", channels=4)


def test_bytes_are_read_as_their_file_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(decode_image(data, "body"), noise)
    with pytest.raises(InputError, match="body: truncated"):
        decode_image(data[:-20], "body")


def test_png_chunk_longer_than_its_file_reaches_no_decoder(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert is_whole(data)
    assert is_whole(data + b"trailing")
    at = data.index(b"IDAT") - 4
    claims = data[:at] + b"\xff\xff\xff\xf0" + data[at + 4 :]
    assert not is_whole(claims)
    assert not is_whole(data[:-1])
    with pytest.raises(InputError, match="truncated"):
        decode_image(claims, "body")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_by_its_own_boxes(orientation: int, tmp_path: Path) -> None:
    """Pillow writes the turn of EXIF as boxes of the file."""
    if not PIL.features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    y, x = np.mgrid[0:32, 0:48]
    pixels = np.stack([x * 5, y * 7, x + y], -1).astype(np.uint8)
    path = tmp_path / "a.avif"
    PIL.Image.fromarray(pixels).save(path, exif=exif, quality=100)
    expected = upright(pixels, orientation)
    found = read_image(path)
    assert found.shape == expected.shape
    assert read_size(path) == expected.shape[:2]
    assert np.abs(found.astype(int) - expected).max() < 16


@pytest.mark.parametrize("largest", [7, 15, 100, 254])
def test_few_bits_of_netpbm_are_spread(largest: int, tmp_path: Path) -> None:
    values = (np.arange(4 * 5 * 3) % (largest + 1)).astype(np.uint8).reshape(4, 5, 3)
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n# so 5 4 255\n5 4\n%d\n" % largest + values.tobytes())
    np.testing.assert_array_equal(read_image(path), np.rint(values * (255 / largest)))
    with PIL.Image.open(path) as file:
        assert np.abs(np.asarray(file).astype(int) - read_image(path)).max() <= 1


def written(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def opencvs(data: bytes, flags: int = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) -> NDArray[Any]:
    """What OpenCV decodes, in the order red, green, blue."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert image is not None
    return image[..., ::-1]


JPEGS = [
    {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    for quality in (10, 75, 95, 100)
    for subsampling in (0, 1, 2)
    for progressive in (False, True)
]


@pytest.mark.parametrize("size", [(40, 60), (43, 61), (17, 33), (1, 1), (3, 200)])
def test_jpegs_have_the_pixels_of_opencv(size: tuple[int, int], pixels: Array) -> None:
    picture = PIL.Image.fromarray(cv2.resize(pixels, size[::-1]))
    more = [{"restart_marker_rows": 1}, {"optimize": True}, {"quality": 90, "keep_rgb": True}]
    for options in [*JPEGS, *more]:
        data = written(picture, "JPEG", **options)
        np.testing.assert_array_equal(decode_image(data, "a"), opencvs(data), str(options))
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if "keep_rgb" not in options:
            np.testing.assert_array_equal(decode_image(data, "a", 1)[..., 0], grey, str(options))
    grey = written(picture.convert("L"), "JPEG")
    np.testing.assert_array_equal(decode_image(grey, "a"), opencvs(grey))
    inks = written(picture.convert("CMYK"), "JPEG")  # OpenCV divides by 256 instead of 255
    assert np.abs(decode_image(inks, "a").astype(int) - opencvs(inks)).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pngs_have_the_pixels_of_opencv(mode: str, pixels: Array) -> None:
    picture = PIL.Image.fromarray(np.dstack([pixels, pixels[..., 1]]))
    if mode == "I;16":
        picture = PIL.Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGBA":
        picture = picture.convert(mode)
    data = written(picture, "PNG")
    deep = 1 / 257 if mode == "I;16" else None
    expected = opencvs(data) // 257 if deep else opencvs(data)
    np.testing.assert_array_equal(decode_image(data, "a", scale=deep), expected)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {"transparency": bytes(range(20))}),
        ("PNG", {"transparency": 3}),
        ("PNG", {"bits": 1}),
        ("PNG", {"bits": 2}),
        ("PNG", {"bits": 4}),
        ("BMP", {}),
    ],
)
def test_palettes_have_the_pixels_of_opencv(
    form: str, options: dict[str, Any], pixels: Array
) -> None:
    colors = 2 ** options["bits"] if "bits" in options else 20
    data = written(PIL.Image.fromarray(pixels).quantize(colors), form, **options)
    np.testing.assert_array_equal(decode_image(data, "a"), opencvs(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("options", [{"quality": 20}, {"quality": 90}, {"lossless": True}])
def test_webps_have_the_pixels_of_opencv(mode: str, options: dict[str, Any], pixels: Array) -> None:
    picture = PIL.Image.fromarray(np.dstack([pixels, pixels[..., 1]])).convert(mode)
    data = written(picture, "WEBP", **options)
    np.testing.assert_array_equal(decode_image(data, "a"), opencvs(data))


@pytest.mark.parametrize("color", [2, 6])
def test_colors_of_16_bits_keep_them_all(
    color: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3 if color == 2 else 4), np.uint16)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), deep)
    with pytest.raises(InputError, match=r"got uint16 values, .*input.scale"):
        read_image(path)
    expected = np.rint(deep[..., 2::-1] * np.float32(1 / 257))
    np.testing.assert_array_equal(read_image(path, scale=1 / 257), expected)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=re.escape(pip_install("topseg[data]"))):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_of_colors_is_opencvs(dtype: Any, tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", colors, photometric="rgb")
    found = read_image(tmp_path / "a.tif", channels=1, scale=1)
    np.testing.assert_array_equal(found[..., 0], np.rint(cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY)))


@pytest.mark.parametrize("largest", [1, 7, 255, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6"])
def test_netpbm_keeps_its_bits(kind: bytes, largest: int) -> None:
    bands = 3 if kind in (b"P3", b"P6") else 1
    values = np.random.default_rng(0).integers(0, largest + 1, (4, 5, bands))
    head = kind + b"\n# a comment 3 3\n5 4\n%d\n" % largest
    if kind in (b"P5", b"P6"):
        data = head + values.astype(np.uint8 if largest < 256 else ">u2").tobytes()
    else:
        data = head + " ".join(map(str, values.ravel().tolist())).encode()
    factor = 255 / largest if largest <= 255 else 1 / 257
    found = decode_image(data, "a", scale=1 / 257)
    np.testing.assert_array_equal(found, np.rint(values * factor).repeat(3 // bands, axis=2))
    assert found.shape == (4, 5, 3)
    with pytest.raises(InputError, match="a: truncated"):
        decode_image(data[:-3] if kind in (b"P5", b"P6") else data.rsplit(maxsplit=1)[0], "a")


def test_netpbm_of_nonsense() -> None:
    for data in (
        b"P5 0 4 255\n",
        b"P6 2 2 70000\n" + bytes(24),
        b"P3 1 1 255\nred 0 0\n",
        b"P2 2 1 255\n1 -5\n",
        b"P2 2 1 255\n1 " + b"9" * 40,
        b"P2 2 1 255\n1_0 5\n",
    ):
        with pytest.raises(InputError, match="a: not readable as an image; damaged"):
            decode_image(data, "a")


def test_pillows_limit_is_not_ours(monkeypatch: pytest.MonkeyPatch, pixels: Array) -> None:
    data = written(PIL.Image.fromarray(pixels), "PNG")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(decode_image(data, "a"), pixels)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(InputError, match="a: 60x40 pixels, expected 2399 at most"):
        decode_image(data, "a", most_pixels=2399)


def test_damaged_exif_turns_nothing(tmp_path: Path, pixels: Array) -> None:
    data = written(PIL.Image.fromarray(pixels), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\1")
    np.testing.assert_array_equal(decode_image(data, "a"), opencvs(data))


def exif_of(kind: int, value: bytes) -> bytes:
    """Return EXIF of an orientation of this kind, and of an offset that leads nowhere."""
    tags = [struct.pack(">HHI4s", 0x0112, kind, 2 if kind == 2 else 1, value)]
    tags += [struct.pack(">HHI4s", 0x011A, 9, 1, b"\xff\xff\xff\xff")]
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(tags)) + b"".join(tags) + bytes(4)


@pytest.mark.parametrize(
    ("kind", "value", "turn"),
    [
        (3, b"\0\6\0\0", 6),  # a short, as the standard has it
        (4, b"\0\0\0\6", 6),
        (3, b"\0\0\0\0", 1),
        (3, b"\0\x09\0\0", 1),
        (2, b"6\0\0\0", 1),  # a text
        (4, b"\xff\xff\xff\xff", 1),
    ],
)
def test_one_rule_of_orientation(
    kind: int, value: bytes, turn: int, tmp_path: Path, pixels: Array
) -> None:
    path, expected = tmp_path / "a.png", upright(pixels, turn)
    path.write_bytes(written(PIL.Image.fromarray(pixels), "PNG", exif=exif_of(kind, value)))
    assert read_orientation(path) == turn
    assert read_size(path) == expected.shape[:2]
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("bands", [3, 5])
def test_the_orientation_of_a_tiff(bands: int, tmp_path: Path) -> None:
    """Pillow opens none of five bands."""
    path, tags = tmp_path / "a.tif", [(274, "H", 1, 6, True)]
    pixels = np.zeros((4, 6, bands), np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", extratags=tags)
    assert read_orientation(path) == 6
    assert read_size(path) == (6, 4)


def test_files_are_images_by_their_content(tmp_path: Path, pixels: Array) -> None:
    (tmp_path / "picture.bin").write_bytes(written(PIL.Image.fromarray(pixels), "PNG"))
    (tmp_path / "words.png").write_text("words")
    assert is_image(tmp_path / "picture.bin")
    assert not is_image(tmp_path / "words.png")
    assert not is_image(tmp_path / "missing.png")
