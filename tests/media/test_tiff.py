"""TIFF files: their own samples, or the tag that stands in the way."""

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from topseg.core.errors import InputError
from topseg.core.installing import pip_install
from topseg.media.images import read_image, read_size
from topseg.media.tiff import is_tiff, read_tiff, upright

RGB = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def write(path: Path, pixels: Any, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, **options)
    return path


def test_begins_like_a_tiff() -> None:
    for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        assert is_tiff(start + b"more")
    assert not is_tiff(b"\x89PNG")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_the_first_samples_are_taken(channels: int, tmp_path: Path) -> None:
    bands = np.random.default_rng(1).integers(0, 256, (32, 48, 6), np.uint8)
    path = write(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(path, channels), bands[..., :channels])


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha", "unspecified"])
def test_a_fourth_sample_changes_no_colour(alpha: str, tmp_path: Path) -> None:
    bands = np.concatenate([RGB, RGB[..., :1] // 3], axis=2)
    path = write(tmp_path / "a.tif", bands, photometric="rgb", extrasamples=[alpha])
    np.testing.assert_array_equal(read_image(path, 3), RGB)
    np.testing.assert_array_equal(read_image(path, 4), bands)


def test_too_few_samples_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", RGB, photometric="rgb")
    with pytest.raises(InputError, match="got 3 channels, expected 4"):
        read_image(path, 4)


def test_colours_become_grey_and_grey_becomes_colours(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", RGB, photometric="rgb")
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png")
    found, other = (read_image(tmp_path / name, 1).astype(int) for name in ("a.tif", "a.png"))
    assert np.abs(found - other).max() <= 1  # by the same weights
    grey = write(tmp_path / "b.tif", RGB[..., 0])
    np.testing.assert_array_equal(read_image(grey, 3), RGB[..., :1].repeat(3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_the_tag_says(orientation: int, tmp_path: Path) -> None:
    """Pillow turns the same file the same way."""
    tags = [(274, "H", 1, orientation, True)]
    path = write(tmp_path / "a.tif", RGB, photometric="rgb", extratags=tags)
    with PIL.Image.open(path) as file:
        expected = np.asarray(PIL.ImageOps.exif_transpose(file))
    np.testing.assert_array_equal(read_image(path), expected)
    assert read_size(path) == expected.shape[:2]
    np.testing.assert_array_equal(upright(RGB, orientation), expected)


@pytest.mark.parametrize(
    ("mode", "words"), [("CMYK", "amounts of ink"), ("LAB", "CIELAB colours"), ("YCbCr", "YCbCr")]
)
def test_other_colours_are_refused_by_their_tag(mode: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    PIL.Image.fromarray(RGB).convert("RGB").save(path)
    if mode == "LAB":
        PIL.Image.new("LAB", (8, 8)).save(path)
    else:
        PIL.Image.fromarray(RGB).convert(mode).save(path)
    with pytest.raises(InputError, match=rf"a.tif: .*{words}.*PhotometricInterpretation"):
        read_image(path)


def test_complex_values_and_stacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got complex64 values"):
        read_image(write(tmp_path / "a.tif", np.zeros((8, 8), np.complex64)), 1)
    blocks = {"volumetric": True, "tile": (16, 16, 16)}
    volume = write(tmp_path / "b.tif", np.zeros((16, 16, 16), np.uint8), **blocks)
    with pytest.raises(InputError, match=r"holds a stack of images \(axes ZYX\)"):
        read_image(volume, 1)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_more_than_bytes_need_a_scale(dtype: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", RGB.astype(dtype), photometric="rgb")
    np.testing.assert_array_equal(read_image(path, 3, 1.0), RGB)
    with pytest.raises(InputError, match=f"got {dtype} values, expected 8-bit; set input.scale"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_truncated_anywhere_is_an_error(
    planar: str, compression: str | None, tmp_path: Path
) -> None:
    pixels = RGB if planar == "contig" else np.moveaxis(RGB, -1, 0)
    options = {"planarconfig": planar, "compression": compression, "photometric": "rgb"}
    data = write(tmp_path / "a.tif", pixels, rowsperstrip=8, **options).read_bytes()
    np.testing.assert_array_equal(read_tiff(data, "a").pixels(), RGB)
    for length in (4, 8, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(InputError, match=r"truncated|damaged"):
            read_tiff(data[:length], "a")


def test_damage_is_an_input_error(tmp_path: Path) -> None:
    """Whatever bytes are changed, the file is read or refused, and nothing else is raised."""
    data = write(tmp_path / "a.tif", RGB, photometric="rgb", compression="deflate").read_bytes()
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(0, 300, 3):
            changed[-int(place) if rng.random() < 0.5 else int(place)] = int(rng.integers(256))
        try:
            read_tiff(bytes(changed), "a")
            read += 1
        except InputError:
            continue
    assert 0 < read < 300


BLANK = np.zeros((64, 64), np.uint8)
CLAIMS: dict[str, dict[str, Any]] = {
    "pixels": {"ImageWidth": 100_000, "ImageLength": 100_000},
    "as many as a number can say": {"ImageWidth": 2**32 - 1, "ImageLength": 2**32 - 1},
    "a tile": {"TileWidth": 2**30, "TileLength": 2**30},
    "rows": {"ImageLength": 2**31},
}


@pytest.mark.parametrize("compression", [None, "deflate", "zstd"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_of_size_are_bounded_before_memory_is_taken(
    claim: str, compression: str | None, tmp_path: Path
) -> None:
    tiles = {"tile": (16, 16)} if claim == "a tile" else {}
    path = write(tmp_path / "a.tif", BLANK, compression=compression, **tiles)
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag, value in CLAIMS[claim].items():
            file.pages.first.tags[tag].overwrite(value, dtype="I")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a.tif: .*(GiB, expected 2 at most|truncated)"):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_an_image_of_few_bytes_is_read(tmp_path: Path) -> None:
    blank = np.zeros((4096, 4096), np.uint8)
    path = write(tmp_path / "a.tif", blank, compression="zstd", rowsperstrip=4096)
    assert path.stat().st_size < 2**12
    assert not read_image(path, 1).any()


def test_strips_that_are_not_listed_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BLANK, compression="deflate", rowsperstrip=8)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageLength"].overwrite(128)
    with pytest.raises(InputError, match="truncated"):
        read_image(path)


@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_a_codec_that_is_not_installed_is_named(compression: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BLANK, compression=compression)
    plain = write(tmp_path / "b.tif", BLANK, compression="deflate")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from topseg.media.images import read_image\n"
        f"assert not read_image({str(plain)!r}).any()\n"
        f"read_image({str(path)!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = run.stderr.splitlines()[-1]
    assert "InputError" in line
    assert compression.upper() in line
    assert line.endswith(f"; {pip_install('topseg[tiff]')}")


def test_a_preview_before_the_image_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB[::4, ::4], subfiletype=1, photometric="rgb")
        file.write(RGB, photometric="rgb")
    np.testing.assert_array_equal(read_image(path), RGB)
    assert read_size(path) == RGB.shape[:2]
