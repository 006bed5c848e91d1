"""Reading masks: numbers, palettes, colours, and every value that has no meaning."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette
from topseg.data.masks import MaskReader

ABC = LabelSet(("a", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))


def test_grey_palette_and_bilevel_files_hold_the_same_numbers(tree: Any) -> None:
    values = np.array([[0, 1, 1], [1, 0, 255]], np.uint8)
    grey = tree.array("grey.png", values)
    image = PIL.Image.fromarray(values).convert("P")
    image.putpalette(sum(default_palette(256), ()))
    image.save(tree.root / "palette.png")
    bilevel = tree.array("bilevel.png", values == 1)
    read = MaskReader(ABC)
    np.testing.assert_array_equal(read(grey), values)
    np.testing.assert_array_equal(read(tree.root / "palette.png"), values)
    np.testing.assert_array_equal(read(bilevel), values == 1)


def test_few_colors_packed_into_bits(tree: Any) -> None:
    image = PIL.Image.fromarray(np.array([[0, 1, 2, 1, 0]], np.uint8)).convert("P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tree.root / "a.png", bits=2)
    assert MaskReader(ABC)(tree.root / "a.png").tolist() == [[0, 1, 2, 1, 0]]


@pytest.mark.parametrize("colored", [False, True])
def test_turned_by_the_rule_of_images(colored: bool, tree: Any) -> None:
    """The second tag's value cannot be written, which is no matter of the mask's."""
    values = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    pixels = ABC.colors()[values].astype(np.uint8) if colored else values
    for kind, value, expected in ((3, b"\0\6\0\0", np.rot90(values, -1)), (2, b"6\0\0\0", values)):
        tags = struct.pack(">HHI4s", 0x0112, kind, 4 - kind, value)
        tags += struct.pack(">HHI4s", 0x011A, 9, 1, b"\xff\xff\xff\xff")
        exif = b"MM\0*\0\0\0\x08\0\2" + tags + bytes(4)
        PIL.Image.fromarray(pixels).save(tree.root / "a.png", exif=exif)
        read = MaskReader(ABC, colors=colored)
        np.testing.assert_array_equal(read(tree.root / "a.png"), expected)


def test_label_map_and_ignore_index(tree: Any) -> None:
    path = tree.array("a.png", np.array([[7, 8, 9, 255, 0]], np.uint8))
    read = MaskReader(ABC, {7: 0, 8: 2, 9: "ignore", 0: 1})
    assert read(path).tolist() == [[0, 2, 255, 255, 1]]
    assert MaskReader(ABC, {7: 0, 8: 2, 9: 1, 255: 0, 0: 1})(path).tolist() == [[0, 2, 1, 0, 1]]
    path = tree.array("b.png", np.array([[0, 1, 2]], np.uint8))
    assert MaskReader(ABC, ignore_index=0)(path).tolist() == [[255, 1, 2]]


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (
            [[0, 1, 2], [2, 3, 3]],
            {},
            r"a.png: value 3 at row 1, column 1 \(2 such pixels\), expected 0-2, 255; correct "
            r"the classes, or ignore such pixels; set 'data.ignore_index=\[3, 255\]'",
        ),
        ([[255]], {"ignore_index": None}, r"value 255 at row 0, column 0 .* expected 0-2;"),
        ([[254]], {}, r"value 254"),
        ([[1]], {"label_map": {0: 0, 5: 1, 6: 2}}, r"value 1 .* expected 0, 5-6, 255;"),
    ],
)
def test_values_without_a_meaning(tree: Any, values: Any, more: Any, message: str) -> None:
    path = tree.array("a.png", np.array(values, np.uint8))
    with pytest.raises(InputError, match=message):
        MaskReader(ABC, **more)(path)


def test_16_bit_values(tree: Any) -> None:
    path = tree.array("a.png", np.array([[0, 2, 65535]], np.uint16))
    with pytest.raises(InputError, match="value 65535 at row 0, column 2"):
        MaskReader(ABC)(path)
    assert MaskReader(ABC, ignore_index=65535)(path).tolist() == [[0, 2, 255]]
    many = LabelSet(tuple(map(str, range(300))), default_palette(300))
    assert MaskReader(many)(path).tolist() == [[0, 2, 65535]]
    assert MaskReader(many)(tree.array("b.png", np.uint8([[255]]))).tolist() == [[255]]
    with pytest.raises(InputError, match="value 300"):
        MaskReader(many)(tree.array("c.png", np.uint16([[300]])))


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
def test_negative_values(kind: type, tree: Any) -> None:
    values = np.array([[0, -1]], kind)
    tifffile.imwrite(tree.root / "a.tif", values)
    np.save(tree.root / "a.npy", values)
    for name in ("a.tif", "a.npy"):
        with pytest.raises(InputError, match="value -1 at row 0, column 1"):
            MaskReader(ABC)(tree.root / name)


def test_colors(tree: Any) -> None:
    pixels = np.uint8([[[255, 0, 0], [0, 0, 255]], [[0, 255, 0], [9, 9, 9]]])
    path = tree.array("a.png", pixels)
    alpha = tree.array("b.png", np.dstack([pixels, np.full((2, 2), 7, np.uint8)]))
    PIL.Image.fromarray(pixels).quantize(8).save(tree.root / "c.png")
    read = MaskReader(ABC, colors=True, ignore_colors=((9, 9, 9),))
    for file in (path, alpha, tree.root / "c.png"):
        assert read(file).tolist() == [[0, 2], [1, 255]]
    message = r"colour \[9, 9, 9\] at row 1, column 1 \(1 such .*data.nearest_color=true"
    with pytest.raises(InputError, match=message):
        MaskReader(ABC, colors=True)(path)
    with pytest.raises(
        InputError, match=r"got the colours of the classes, .*; set data.masks=color"
    ):
        MaskReader(ABC)(path)


def test_nearest_color(tree: Any) -> None:
    path = tree.array("a.png", np.uint8([[[250, 3, 0], [0, 90, 200], [30, 20, 20], [0, 255, 0]]]))
    read = MaskReader(ABC, colors=True, ignore_colors=((0, 0, 0),), nearest=True)
    for _ in range(2):  # the second time from the table
        assert read(path).tolist() == [[0, 2, 255, 1]]


def test_colors_must_tell_classes_apart() -> None:
    two = LabelSet(("a", "b"), ((1, 1, 1), (1, 1, 1)))
    with pytest.raises(InputError, match="classes 'a' and 'b' share a colour"):
        MaskReader(two, colors=True)
    with pytest.raises(InputError, match=r"data.ignore_colors: \[255, 0, 0\] is also a class's"):
        MaskReader(ABC, colors=True, ignore_colors=((255, 0, 0),))


def test_jpeg_is_refused_unless_colors_may_be_near(tree: Any) -> None:
    path = tree.array("a.jpg", np.full((16, 16, 3), (255, 0, 0), np.uint8))
    for colors in (False, True):
        with pytest.raises(InputError, match=r"a.jpg: JPEG changes a mask's values"):
            MaskReader(ABC, colors=colors)(path)
    assert (MaskReader(ABC, colors=True, nearest=True)(path) == 0).all()


def test_unreadable_masks(tree: Any) -> None:
    path = tree.array("a.png", np.random.default_rng(0).integers(0, 2, (99, 99), np.uint8))
    path.write_bytes(path.read_bytes()[:-100])
    read = MaskReader(ABC)
    with pytest.raises(InputError, match=r"a.png: truncated, the end of the mask is missing"):
        read(path)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match=r"a.png: not readable as a mask"):
        read(path)
    with pytest.raises(InputError, match=r"b.png: no such file"):
        read(tree.root / "b.png")
    floats = tree.array("c.tif", np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match="got float32 values, expected whole numbers"):
        read(floats)


def packed_png(values: Any, bits: int, color: int = 0) -> bytes:
    """A PNG of 1 to 16 bits, which Pillow cannot write: (H, W) or (H, W, S)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width = values.shape[:2]
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in values]
    else:
        lines = [
            np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes()
            for row in values.astype(np.uint8)
        ]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line for line in lines))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_keep_their_values(bits: int, tree: Any) -> None:
    """Pillow spreads 2 and 4 bits over 0 to 255."""
    values = np.resize(np.arange(2**bits, dtype=np.uint8), (8, 24))
    read = MaskReader(LabelSet(tuple("abcdefghijklmnop"), default_palette(16)))
    path = tree.root / "a.png"
    path.write_bytes(packed_png(values, bits))
    np.testing.assert_array_equal(read(path), values)
    rasterio = pytest.importorskip("rasterio")
    shape = {"height": 8, "width": 24, "count": 1, "dtype": "uint8", "nbits": bits}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tree.root / "a.tif", "w", driver="GTiff", **shape) as file:
            file.write(values, 1)
    np.testing.assert_array_equal(read(tree.root / "a.tif"), values)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["int", "uint"])
def test_any_integer_type(kind: str, bits: int, tree: Any) -> None:
    values = np.array([[0, 1], [2, 1]], f"{kind}{bits}")
    tifffile.imwrite(tree.root / "a.tif", values)
    np.save(tree.root / "a.npy", values)
    for name in ("a.tif", "a.npy"):
        np.testing.assert_array_equal(MaskReader(ABC)(tree.root / name), values)


@pytest.mark.parametrize("value", [-1, 2**32, 2**32 + 1, -(2**31)])
def test_large_and_negative_values_are_no_class(value: int, tree: Any) -> None:
    np.save(tree.root / "a.npy", np.array([[0, value]]))
    with pytest.raises(InputError, match=rf"a.npy: value {value} at row 0, column 1"):
        MaskReader(ABC)(tree.root / "a.npy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_are_no_classes(dtype: str, tree: Any) -> None:
    tifffile.imwrite(tree.root / "a.tif", np.zeros((2, 2), dtype))
    with pytest.raises(InputError, match=f"a.tif: got {dtype} values, expected whole numbers"):
        MaskReader(ABC)(tree.root / "a.tif")


def test_grey_saved_as_colours_is_grey(tree: Any) -> None:
    values = np.array([[0, 1, 2, 255]], np.uint8)
    for channels, mode in ((3, "RGB"), (4, "RGBA"), (2, "LA")):
        PIL.Image.fromarray(values).convert(mode).save(tree.root / f"{channels}.png")
        np.testing.assert_array_equal(MaskReader(ABC)(tree.root / f"{channels}.png"), values)


def test_deep_grey_saved_as_colours_keeps_its_bits(tree: Any) -> None:
    values = np.array([[[259] * 3, [2] * 3]])
    (tree.root / "a.png").write_bytes(packed_png(values, 16, color=2))
    with pytest.raises(InputError, match=r"a\.png: value 259"):
        MaskReader(ABC)(tree.root / "a.png")


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".tif"])
def test_lossy_masks_are_refused(suffix: str, tree: Any) -> None:
    options = {"compression": "jpeg"} if suffix == ".tif" else {}
    PIL.Image.new("L", (16, 16)).save(tree.root / f"a{suffix}", **options)
    with pytest.raises(InputError, match="changes a mask's values; save masks as PNG"):
        MaskReader(ABC)(tree.root / f"a{suffix}")


def test_lossless_webp_is_a_mask(tree: Any) -> None:
    values = np.array([[0, 1, 2, 255]], np.uint8)
    PIL.Image.fromarray(values).convert("RGB").save(tree.root / "a.webp", lossless=True)
    np.testing.assert_array_equal(MaskReader(ABC)(tree.root / "a.webp"), values)


def test_numbers_of_netpbm_are_those_of_the_file(tmp_path: Path) -> None:
    """Pillow spreads them to 0..255, and a bitmap's 1 is black."""
    read = MaskReader(LabelSet(tuple("abcdefghijkl"), default_palette(12)))
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    text = " ".join(str(value) for value in values.ravel()).encode()
    files = {
        "15.pgm": b"P5\n# a comment 4 4\n4 3\n15\n" + values.tobytes(),
        "11.pgm": b"P2 4 3 11\n" + text,
        "255.pgm": b"P5 4 3 255\n" + values.tobytes(),
        "300.pgm": b"P5 4 3 300\n" + values.astype(">u2").tobytes(),
        "65535.pgm": b"P5 4 3 65535\n" + values.astype(">u2").tobytes(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read(tmp_path / name), values, name)
    bits = values % 2
    (tmp_path / "a.pbm").write_bytes(b"P1 4 3\n" + " ".join(map(str, bits.ravel())).encode())
    (tmp_path / "b.pbm").write_bytes(b"P4 4 3\n" + np.packbits(bits, axis=1).tobytes())
    for name in ("a.pbm", "b.pbm"):
        np.testing.assert_array_equal(read(tmp_path / name), bits, name)


@pytest.mark.parametrize("exact", [True, False])
def test_jpeg_2000_by_its_wavelet(exact: bool, tmp_path: Path) -> None:
    read = MaskReader(LabelSet(tuple("abcd"), default_palette(4)))
    values = np.resize(np.arange(4, dtype=np.uint8), (32, 32))
    path = tmp_path / "a.jp2"
    PIL.Image.fromarray(values).save(path, irreversible=not exact)
    if exact:
        np.testing.assert_array_equal(read(path), values)
        return
    with pytest.raises(InputError, match="JPEG2000 changes a mask's values"):
        read(path)


def test_a_grey_bmp_of_four_bits_is_refused(tmp_path: Path) -> None:
    colors = b"".join(bytes((value, value, value, 0)) for value in range(16))
    header = struct.pack("<IiiHHIIiiII", 40, 8, 1, 1, 4, 0, 4, 0, 0, 16, 0)
    start = b"BM" + struct.pack("<IHHI", 58 + len(colors), 0, 0, 54 + len(colors))
    (tmp_path / "a.bmp").write_bytes(start + header + colors + bytes(range(4)))
    read = MaskReader(LabelSet(tuple("abcd"), default_palette(4)))
    with pytest.raises(InputError, match="a grey BMP of 4 bits; save masks as PNG"):
        read(tmp_path / "a.bmp")


@pytest.mark.parametrize("values", [np.array([[-1, 0]]), np.arange(400).reshape(20, 20) * 2])
def test_values_that_no_setting_ignores_have_no_setting(
    values: NDArray[Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=r"correct the classes, or ignore such pixels$"):
        MaskReader(LabelSet(("a", "b"), default_palette(2)))(tmp_path / "a.npy")


BANDS = np.zeros((4, 6, 8), np.uint16)


@pytest.mark.parametrize(
    ("name", "pixels", "text"),
    [
        ("a.npy", BANDS[:, :, :5], "got 5 bands"),
        ("a.npy", np.zeros((1, 5, 7), np.uint8), "got 7 bands"),
        ("a.tif", BANDS[:, :, :2], "got 2 bands"),
        ("a.tif", BANDS[:, :, :6], "got 6 bands"),
    ],
)
def test_bands_are_not_one_number(name: str, pixels: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    read = MaskReader(LabelSet(tuple("abcd"), default_palette(4)))
    with pytest.raises(InputError, match=f"{text}, expected one number per pixel"):
        read(path)


@pytest.mark.parametrize(
    ("compression", "exact", "rounded"),
    [
        ("jpeg2000", {"reversible": True}, {"level": 30}),
        ("webp", {"lossless": True}, {"lossless": False}),
    ],
)
def test_lossy_compression_in_a_tiff(
    compression: str, exact: dict[str, Any], rounded: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("imagecodecs")
    values = np.resize(np.arange(4, dtype=np.uint8), (32, 32))[..., None].repeat(3, axis=2)
    read, path = MaskReader(LabelSet(tuple("abcd"), default_palette(4))), tmp_path / "a.tif"
    options = {"photometric": "rgb", "compression": compression}
    tifffile.imwrite(path, values, compressionargs=exact, **options)
    np.testing.assert_array_equal(read(path), values[..., 0])
    tifffile.imwrite(path, values, compressionargs=rounded, **options)
    with pytest.raises(InputError, match="changes a mask's values"):
        read(path)


def test_a_tiff_without_pixels_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((1, 8), np.uint8))
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["ImageWidth"].overwrite(0)
    with pytest.raises(InputError, match=r"a\.tif: got no pixels, expected a mask"):
        MaskReader(LabelSet(("a", "b"), default_palette(2)))(path)
