"""Every kind of image file has the same pixels wherever topseg reads it, or is refused there.

The samples are compared with those of Pillow or GDAL, which topseg does not read these files with.
The table stands in docs/formats.md; ``python tests/contracts/test_formats.py`` writes it anew.
"""

from __future__ import annotations

import io
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.dataset import open_dataset
from topseg.media.images import decode_image, read_image
from topseg.serve.header import check_header
from topseg.serve.refusal import Refusal

rasterio = pytest.importorskip("rasterio")
rasters = pytest.importorskip("topseg.media.rasters")

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
COLUMNS = ("predict", "train", "check", "tile", "serve")
_Y, _X = np.mgrid[0:64, 0:96]
SCENE = np.stack([_X * 2, _Y * 4, (_X + _Y)], -1).astype(np.uint8)  # (64, 96, 3), unlike everywhere
GREY = SCENE[..., 0]
LOSSY = 6
"""Largest difference between two decoders of one lossy file."""

Write = Callable[[Path], None]


class Kind(NamedTuple):
    """A kind of file: how it is written, and what an independent reader makes of it."""

    name: str
    suffix: str
    write: Write
    scale: float | None = None
    expected: NDArray[Any] | None = SCENE  # None: it means no colours
    lossy: bool = False


def pillow(pixels: NDArray[Any], **options: Any) -> Write:
    mode = options.pop("mode", None)

    def write(path: Path) -> None:
        image = PIL.Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(path, **options)

    return write


def palette(path: Path) -> None:
    PIL.Image.fromarray(SCENE).quantize(16).save(path)


def turned(path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(SCENE).save(path, exif=exif)


def turned_tiff(path: Path) -> None:
    import tifffile

    tags = [(274, "H", 1, 6, True)]
    tifffile.imwrite(path, SCENE, photometric="rgb", extratags=tags, metadata=None)


def preview(path: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(path) as file:
        file.write(SCENE[::4, ::4], subfiletype=1, photometric="rgb")
        file.write(SCENE, photometric="rgb")


def transparent(path: Path) -> None:
    PIL.Image.fromarray(SCENE).quantize(32).save(path, transparency=3)


def two_byte_bitmap(path: Path) -> None:
    """5, 6 and 5 bits of red, green and blue."""
    red, green, blue = np.moveaxis(SCENE.astype(np.uint16) >> [3, 2, 3], -1, 0)
    rows = (red << 11 | green << 5 | blue)[::-1].astype("<u2").tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, 96, 64, 1, 16, 3, len(rows), 0, 0, 0, 0)
    head += struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 66 + len(rows), 0, 0, 66) + head + rows)


def volume(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.stack([GREY, GREY]), volumetric=True, tile=(2, 32, 32))


def animated_png(path: Path) -> None:
    frames = [PIL.Image.fromarray(pixels) for pixels in (SCENE, 255 - SCENE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def png(samples: NDArray[Any], bits: int, color: int) -> Write:
    """Write by hand what Pillow does not: 2, 4 or 16 bits of any kind of colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    def write(path: Path) -> None:
        height, width = samples.shape[:2]
        rows = samples.reshape(height, -1).astype(">u2").view(np.uint8).reshape(height, -1, 2)
        low = np.unpackbits(rows, axis=2)[..., 16 - bits :].reshape(height, -1)
        packed = b"".join(b"\0" + row.tobytes() for row in np.packbits(low, axis=1))
        head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
        body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)

    return write


def few_bits(path: Path) -> None:
    path.write_bytes(b"P5 96 64 15\n" + (GREY // 16).tobytes())


def animated(path: Path) -> None:
    frames = [
        PIL.Image.fromarray(np.broadcast_to(v, (64, 96, 3)).astype(np.uint8)) for v in (9, 99)
    ]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


def tiff(samples: NDArray[Any], driver: str = "GTiff", **profile: Any) -> Write:
    """Write by GDAL: (H, W, S) or (H, W)."""
    bands = np.moveaxis(np.atleast_3d(samples), -1, 0)

    def write(path: Path) -> None:
        count, height, width = bands.shape
        shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
        with rasterio.open(path, "w", driver=driver, **shape, **profile) as file:
            file.write(bands)

    return write


def jpeg2000(samples: NDArray[Any], **profile: Any) -> Write:
    return tiff(samples, "JP2OpenJPEG", quality=100, reversible="yes", **profile)


def numpy_file(path: Path) -> None:
    np.save(path, SCENE.astype(np.uint16) * 257)


WIDE = SCENE.astype(np.uint16) * 257
RGB = {"photometric": "RGB"}
ZERO = {"photometric": "MINISWHITE"}  # of real numbers: they mean what they are
PIXELS, BANDS = {"interleave": "pixel"}, {"interleave": "band"}
TILES = {"tiled": True, "blockxsize": 32, "blockysize": 32}
GREY3 = GREY[..., None].repeat(3, axis=2)
DARK = np.full((64, 96, 3), 9, np.uint8)
NEAR_INFRARED = np.concatenate([SCENE, GREY[..., None] // 2], axis=2)
GREY_ALPHA = NEAR_INFRARED[..., [0, 3]]
BITS = (_X % 2).astype(np.uint8)

KINDS = (
    Kind("PNG, 8 bits", ".png", pillow(SCENE)),
    Kind("PNG, grey", ".png", pillow(GREY), expected=GREY3),
    Kind("PNG, 1 bit", ".png", pillow(BITS * 255, mode="1"), expected=BITS[..., None] * [255] * 1),
    Kind("PNG, palette", ".png", palette, expected=np.empty(0)),
    Kind("PNG, with alpha", ".png", pillow(NEAR_INFRARED)),
    Kind("PNG, EXIF turned", ".png", turned, expected=np.rot90(SCENE, -1)),
    Kind("PNG, animated", ".png", animated_png),
    Kind("PNG, 2 bits", ".png", png(GREY // 64, 2, 0), expected=GREY3 // 64 * 85),
    Kind("PNG, 16 bits", ".png", png(WIDE, 16, 2), 1 / 257),
    Kind("PNG, 16 bits with alpha", ".png", png(NEAR_INFRARED.astype(int) * 257, 16, 6), 1 / 257),
    Kind("PNG, 16 bits grey", ".png", pillow(WIDE[..., 0]), 1 / 257, GREY3),
    Kind("JPEG", ".jpg", pillow(SCENE, quality=95), expected=np.empty(0), lossy=True),
    Kind("JPEG, .jfif", ".jfif", pillow(SCENE, format="JPEG"), None, np.empty(0), True),
    Kind("JPEG, grey", ".jpg", pillow(GREY, quality=95), None, np.empty(0), True),
    Kind("JPEG, CMYK", ".jpg", pillow(SCENE, mode="CMYK", quality=95), None, np.empty(0), True),
    Kind("JPEG, EXIF turned", ".jpg", turned, None, np.empty(0), True),
    Kind("WebP, lossless", ".webp", pillow(SCENE, lossless=True)),
    Kind("WebP, animated", ".webp", animated, expected=DARK),
    Kind("GIF, animated", ".gif", animated, expected=DARK),
    Kind("GIF, transparent", ".gif", transparent, expected=np.empty(0)),
    Kind("BMP", ".bmp", pillow(SCENE)),
    Kind("BMP, 16 bits a pixel", ".bmp", two_byte_bitmap, expected=np.empty(0)),
    Kind("PPM", ".ppm", pillow(SCENE)),
    Kind("PGM", ".pgm", pillow(GREY), expected=GREY3),
    Kind("PGM, 4 bits", ".pgm", few_bits, expected=GREY3 // 16 * 17),
    Kind("JPEG 2000, lossless", ".jp2", pillow(SCENE)),
    Kind("JPEG 2000, bands without meaning", ".jp2", jpeg2000(NEAR_INFRARED)),
    Kind("JPEG 2000, 16 bits", ".jp2", jpeg2000(WIDE), 1 / 257),
    Kind("JPEG 2000, 12 bits", ".jp2", jpeg2000(SCENE.astype(np.uint16) * 16, nbits=12), 1 / 16),
    Kind("JPEG 2000, 4 bits", ".jp2", jpeg2000(GREY // 16, nbits=4), None, GREY3 // 16 * 17),
    Kind("JPEG 2000, int16", ".jp2", jpeg2000(SCENE.astype(np.int16) * 4), 1 / 4),
    Kind("AVIF", ".avif", pillow(SCENE, quality=95), None, np.empty(0), True),
    Kind("AVIF, turned", ".avif", turned, None, np.empty(0), True),
    Kind("TIFF, 8 bits", ".tif", tiff(SCENE, **RGB, **PIXELS)),
    Kind("TIFF, 8 bits planar", ".tif", tiff(SCENE, **RGB, **BANDS)),
    Kind("TIFF, LZW with predictor", ".tif", tiff(SCENE, **RGB, compress="lzw", predictor=2)),
    Kind("TIFF, deflate tiles", ".tif", tiff(SCENE, **RGB, **TILES, compress="deflate")),
    Kind("TIFF, Zstandard", ".tif", tiff(SCENE, **RGB, compress="zstd")),
    Kind("TIFF, BigTIFF", ".tif", tiff(SCENE, **RGB, bigtiff="yes")),
    Kind("TIFF, 16 bits", ".tif", tiff(WIDE, **RGB, **PIXELS), 1 / 257),
    Kind("TIFF, 16 bits planar", ".tif", tiff(WIDE, **RGB, **BANDS, **TILES), 1 / 257),
    Kind("TIFF, 16 bits big-endian", ".tif", tiff(WIDE, **RGB, endianness="big"), 1 / 257),
    Kind("TIFF, 12 bits packed", ".tif", tiff(SCENE.astype(np.uint16) * 16, nbits=12), 1 / 16),
    Kind("TIFF, int16", ".tif", tiff(SCENE.astype(np.int16) * 4), 1 / 4),
    Kind("TIFF, uint32", ".tif", tiff(SCENE.astype(np.uint32) * 4), 1 / 4),
    Kind("TIFF, float32 planar", ".tif", tiff(SCENE / np.float32(255), **BANDS), 255.0),
    Kind("TIFF, float64", ".tif", tiff(SCENE / 255), 255.0),
    Kind("TIFF, turned", ".tif", turned_tiff, expected=np.rot90(SCENE, -1)),
    Kind("TIFF, preview first", ".tif", preview),
    Kind("TIFF, grey", ".tif", tiff(GREY), expected=GREY3),
    Kind("TIFF, white is zero", ".tif", tiff(255 - GREY, photometric="MINISWHITE"), None, GREY3),
    Kind(
        "TIFF, 16 bits white is zero",
        ".tif",
        tiff(65535 - WIDE[..., 0], photometric="MINISWHITE"),
        1 / 257,
        GREY3,
    ),
    Kind("TIFF, float32 white is zero", ".tif", tiff(GREY / np.float32(255), **ZERO), 255.0, GREY3),
    Kind("TIFF, volume", ".tif", volume, expected=None),
    Kind(
        "TIFF, grey with alpha", ".tif", tiff(NEAR_INFRARED[..., [0, 3]], alpha="yes"), None, GREY3
    ),
    Kind("TIFF, two bands", ".tif", tiff(SCENE[..., :2]), expected=None),
    Kind("TIFF, JPEG", ".tif", tiff(SCENE, **RGB, compress="jpeg"), None, np.empty(0), True),
    Kind(
        "TIFF, JPEG in YCbCr",
        ".tif",
        tiff(SCENE, photometric="YCBCR", **PIXELS, compress="jpeg"),
        None,
        np.empty(0),
        True,
    ),
    Kind(
        "TIFF, float32 with predictor",
        ".tif",
        tiff(SCENE / np.float32(255), **TILES, compress="deflate", predictor=3),
        255.0,
    ),
    Kind("TIFF, LZMA", ".tif", tiff(SCENE, **RGB, compress="lzma")),
    Kind("TIFF, 1 bit", ".tif", tiff(BITS, nbits=1), expected=BITS[..., None] * [255]),
    Kind("TIFF, 4 bits", ".tif", tiff(GREY // 16, nbits=4), None, GREY3 // 16 * 17),
    Kind("TIFF, bands without meaning", ".tif", tiff(SCENE, photometric="MINISBLACK")),
    Kind("TIFF, near infrared as alpha", ".tif", tiff(NEAR_INFRARED, **RGB, alpha="yes")),
    Kind("TIFF, CMYK", ".tif", pillow(SCENE, mode="CMYK"), expected=None),
    Kind("TIFF, palette", ".tif", palette, expected=np.empty(0)),
    Kind("NumPy, uint16", ".npy", numpy_file, 1 / 257),
)


def by_pillow(path: Path) -> NDArray[Any]:
    with PIL.Image.open(path) as file:
        return np.asarray(PIL.ImageOps.exif_transpose(file).convert("RGB"))


def by_predict(path: Path, scale: float | None) -> NDArray[Any]:
    return read_image(path, 3, scale)


def data_of(path: Path) -> DataConfig:
    """A data set of this image alone."""
    size = by_predict_size(path)
    mask = path.parent / "mask.png"
    PIL.Image.fromarray(np.zeros(size, np.uint8)).save(mask)
    for split in ("train", "val"):
        (path.parent / f"{split}.txt").write_text(f"{path.name} mask.png\n")
    return DataConfig(layout="list", root=str(path.parent), classes=("a",))


def by_predict_size(path: Path) -> tuple[int, int]:
    from topseg.media.images import read_size

    return read_size(path)


def by_train(path: Path, scale: float | None) -> NDArray[Any]:
    return open_dataset(data_of(path), "train", scale=scale)[0].image


def by_check(path: Path, scale: float | None) -> NDArray[Any]:
    report = check(data_of(path), scale=scale)
    if report.errors:
        raise InputError(str(report))
    return read_image(path, 3, scale)  # which check has just read without an error


def by_tile(path: Path, scale: float | None) -> NDArray[Any]:
    with rasters.open_raster(path, 3, scale) as raster:
        pixels, _ = raster.read_rows(0, raster.size[0])
    return pixels


def by_serve(path: Path, scale: float | None) -> NDArray[Any]:
    data = path.read_bytes()
    check_header(data, 10**6)
    return decode_image(data, "image", 3, scale)


READERS = dict(zip(COLUMNS, (by_predict, by_train, by_check, by_tile, by_serve), strict=True))


def cell(kind: Kind, path: Path, column: str, expected: NDArray[Any] | None) -> str:
    """What a reader makes of a file: "same", "same, lossy", "refused" or "WRONG"."""
    try:
        found = READERS[column](path, kind.scale)
    except (InputError, Refusal):
        return "refused"
    if expected is None or found.shape != expected.shape:
        return "WRONG"
    difference = int(np.abs(found.astype(int) - expected.astype(int)).max())
    if kind.lossy and difference <= LOSSY:
        return "same, lossy"
    return "same" if difference <= (kind.scale is not None) else f"WRONG by {difference}"


def row(kind: Kind, folder: Path) -> tuple[str, ...]:
    path = folder / f"image{kind.suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files without a place on Earth
        kind.write(path)
        expected = kind.expected
        if expected is not None:
            expected = (
                by_pillow(path)
                if expected.size == 0
                else np.broadcast_to(expected, (*expected.shape[:2], 3))
            )
        return tuple(cell(kind, path, column, expected) for column in COLUMNS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_same_pixels_or_refused(kind: Kind, tmp_path: Path) -> None:
    found = row(kind, tmp_path)
    assert "WRONG" not in " ".join(found), dict(zip(COLUMNS, found, strict=True))
    assert len({text for text in found[:3]}) == 1, "predict, train and check have one reader"
    documented = [line for line in DOCS.read_text().splitlines() if f"| {kind.name} |" in line]
    assert documented == [line_of(kind.name, found)]


def line_of(name: str, cells: tuple[str, ...]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def table() -> str:
    out = io.StringIO()
    print(f"| file | {' | '.join(COLUMNS)} |", file=out)
    print("|---" * (len(COLUMNS) + 1) + "|", file=out)
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            print(line_of(kind.name, row(kind, Path(folder))), file=out)
    return out.getvalue()


if __name__ == "__main__":
    text = table()
    if DOCS.is_file():
        head = DOCS.read_text().split("| file |")[0]
        DOCS.write_text(head + text)
    sys.stdout.write(text)
