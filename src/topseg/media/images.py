"""Images: files become arrays here, and nowhere else.

Pillow decodes, and an image is turned by its EXIF orientation (TIFF, JPEG 2000 and Netpbm are read
as they are stored); what a decoder would hide is made an error: the missing rest of a truncated
file, or the low bits of a 16-bit one.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from topseg.core import storage
from topseg.core.archives import split
from topseg.core.errors import InputError
from topseg.core.files import check_regular
from topseg.core.geometry import Size
from topseg.media.jpeg2000 import HEAD, is_jpeg2000, read_jpeg2000, read_jpeg2000_size
from topseg.media.netpbm import read_netpbm
from topseg.media.png import is_deep_png, is_png, is_whole_png, read_deep_png
from topseg.media.tiff import is_tiff, read_tiff, read_tiff_orientation, read_tiff_size, upright

Image = NDArray[np.uint8]
"""(H, W, C) uint8, RGB for three channels."""

# A JPEG marker that is neither a stuffed byte (FF 00), a restart (FF D0-D7) nor filling (FF FF).
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_END: Final = 0xD9
_EXIF_ORIENTATION: Final = 0x0112
_HEIF: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
MOST_PIXELS: Final = 2**30
_opening = threading.Lock()  # around what is set for the whole process


def read_image(path: str | Path, channels: int = 3, scale: float | None = None) -> Image:
    """Read an image file, turned upright by its EXIF orientation.

    Args:
        path: An image in any format Pillow reads (1, 3 or 4 channels), or a ``.npy`` array (H, W)
            or (H, W, C) with any number of channels.
        channels: C. Grey becomes RGB for 3 and colour becomes grey for 1; nothing else is guessed.
        scale: Factor from 16-bit or float values to 0..255; 8-bit images are never scaled.

    Returns:
        (H, W, C) uint8; RGB for three channels, RGBA for four.

    Raises:
        InputError: No such file, not an image, truncated, another channel count, or more than
            8 bits without a scale.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return check_pixels(read_array(path), str(path), channels, scale)
    return decode_image(read_bytes(path), str(path), channels, scale)


def decode_image(
    data: bytes,
    name: str,
    channels: int = 3,
    scale: float | None = None,
    *,
    most_pixels: int = MOST_PIXELS,
) -> Image:
    """Decode the bytes of an image file as :func:`read_image` does.

    Args:
        data: The file's content.
        name: What errors call it.
        channels: C.
        scale: Factor from 16-bit or float values to 0..255.
        most_pixels: Pixels beyond which nothing is decoded.

    Raises:
        InputError: Not an image, truncated, too large, another channel count, or more than 8 bits
            without a scale.
    """
    return check_pixels(_decode(data, name, channels, most_pixels), name, channels, scale)


def read_size(path: str | Path) -> Size:
    """Return an image's (height, width), EXIF orientation applied, from the file's header alone.

    Raises:
        InputError: No such file, or not an image.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        shape = read_array(path, mmap_mode="r").shape
        return shape[0], shape[1]
    check_regular(path)
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(HEAD)
        if is_tiff(head):
            return read_tiff_size(path)
        if is_jpeg2000(head):
            return read_jpeg2000_size(head, str(path))
    try:
        with path.open("rb") as file, _open(file) as image:
            width, height = image.size
            turned = orientation_of(image) >= 5
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path}: not readable as an image ({error})") from None
    return (width, height) if turned else (height, width)


def is_image(path: Path) -> bool:
    """Return whether a file begins as an image does, whatever its name."""
    with contextlib.suppress(Exception), path.open("rb") as file, _open(file) as image:
        return image.format not in ("MPEG", "FLI")  # videos, of which Pillow reads the header
    return False


def is_whole(data: bytes) -> bool:
    """Return whether a JPEG or PNG file reaches its own end (True for every other format).

    Decoders fill the missing rest of a JPEG with grey. Its segments, or a PNG's chunks, are walked
    up to the end marker, so that neither an embedded thumbnail nor bytes after the end mislead, and
    a chunk that claims to be longer than its file reaches no decoder.
    """
    if is_png(data):
        return is_whole_png(data)
    if not data.startswith(b"\xff\xd8"):
        return True
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        at = found.end()
        if data[at - 1] == _JPEG_END:
            return True
        at += int.from_bytes(data[at : at + 2], "big")  # a segment begins with its length
    return False


def read_bytes(path: Path) -> bytes:
    """Read a whole file that is not empty.

    Raises:
        InputError: It is missing, empty or not readable.
    """
    data = storage.read_bytes(path)
    if not data:
        raise InputError(f"{path}: the file is empty; get it again")
    return data


def _decode(data: bytes, name: str, channels: int, most_pixels: int) -> NDArray[Any]:
    """Decode to (H, W, C), values as they are in the file."""
    if is_tiff(data):
        tiff = read_tiff(data, name)
        colors = tiff.is_color or tiff.colors is not None
        return _first(tiff.pixels(), channels, colors=colors, has_alpha=tiff.has_alpha)
    if is_jpeg2000(data):
        found = read_jpeg2000(data, name)
        samples, bits = found.samples, found.bits
        if bits < 8:
            samples = np.rint(samples * (255 / (2**bits - 1))).astype(np.uint8)
        colors = samples.shape[2] >= 3
        return _first(samples, channels, colors=colors, has_alpha=found.has_alpha)
    if data.startswith(b"P7"):
        raise InputError(f"{name}: PAM is not supported; save the image as PNG")
    if not is_whole(data):
        raise InputError(f"{name}: truncated, the end of the image is missing; get the file again")
    stored = read_netpbm(data, name)
    if stored is not None:
        return _first(stored, channels, colors=stored.shape[2] == 3, has_alpha=False)
    try:
        with _open(io.BytesIO(data)) as file:
            width, height = file.size
            if width * height > most_pixels:
                raise InputError(
                    f"{name}: {width}x{height} pixels, expected {most_pixels} at most; "
                    "'topseg tile' reads large images window by window"
                )
            deep = is_deep_png(data)
            pixels = read_deep_png(data, name) if deep else _by_pillow(file, channels)
            if deep:
                pixels = _first(pixels, channels, colors=True, has_alpha=pixels.shape[2] == 4)
            return upright(pixels, orientation_of(file))
    except InputError:
        raise
    except Exception:  # a damaged file can raise anything, struct.error to MemoryError
        raise InputError(f"{name}: not readable as an image{_remedy(data)}") from None


def _first(pixels: NDArray[Any], channels: int, *, colors: bool, has_alpha: bool) -> NDArray[Any]:
    """Take the first C samples; grey becomes RGB for 3, and colours become grey for 1."""
    if channels == 1 and colors and pixels.dtype in (np.uint8, np.uint16, np.float32):
        return _grey(pixels)
    if channels == 3 and pixels.shape[2] == 1 + has_alpha:  # grey, or grey with alpha
        return pixels[..., :1].repeat(3, axis=2)
    return pixels[..., :channels]


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """Turn the first three samples into grey, (H, W, 1), by the weights of ITU-R BT.601."""
    if pixels.dtype == np.float32:
        return np.asarray(pixels[..., :3] @ np.array([[0.299], [0.587], [0.114]], np.float32))
    weights = np.array([[9798], [19235], [3735]], np.uint32)  # of 2^15
    sums = pixels[..., :3].astype(np.uint32) @ weights
    return np.asarray((sums + (1 << 14)) >> 15).astype(pixels.dtype)


def _open(file: BinaryIO) -> PIL.Image.Image:
    """Open a file by Pillow, which reads its header.

    HEIC is read by pillow-heif, where it is installed. Pillow's own limit of pixels, one for the
    whole process, warns of large photographs; it is put aside here, and what Pillow tells of
    damaged EXIF.
    """
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp" and find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            return PIL.Image.open(file)
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit


def _by_pillow(file: PIL.Image.Image, channels: int) -> NDArray[Any]:
    """Decode an open file to (H, W, C)."""
    if channels == 1:
        file.draft("L", None)  # the grey that a JPEG holds
    if file.mode[0] in "IF":  # 16 bits, or floats
        file.load()
        deep = np.asarray(file)
        deep = deep.astype(np.uint16) if file.format == "PNG" else deep
        return _first(np.atleast_3d(deep), channels, colors=False, has_alpha=False)
    transparent = file.has_transparency_data
    if channels == 4 and transparent:
        return np.asarray(file.convert("RGBA"))
    file.info.pop("transparency", None)  # of a palette, which Pillow would warn of
    grey = file.mode in ("1", "L", "LA")
    mode = "L" if grey and channels != 3 else "RGB"
    pixels = np.atleast_3d(np.asarray(file if file.mode == mode else file.convert(mode)))
    return _grey(pixels) if channels == 1 and not grey else pixels


def _remedy(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "; HEIC needs another package: pip install pillow-heif"
    return "; damaged, or no image format"


def read_orientation(path: Path) -> int:
    """Return how a file is to be turned, 1 to 8: by its EXIF orientation, or a TIFF's tag."""
    with contextlib.suppress(Exception), path.open("rb") as file:
        if is_tiff(file.read(HEAD)):
            return read_tiff_orientation(path)
        file.seek(0)
        with _open(file) as image:
            return orientation_of(image)
    return 1


def orientation_of(image: PIL.Image.Image) -> int:
    """Return the EXIF orientation of an image of Pillow's, 1 to 8, for :func:`tiff.upright`.

    Images, masks and the Python API all turn by it: where the tag is missing, damaged, of another
    type or out of its range, nothing is turned. Decode first: Pillow turns a TIFF as it decodes it,
    and removes the tag then.
    """
    with _opening, warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        found = image.getexif().get(_EXIF_ORIENTATION)
        return found if isinstance(found, int) and 1 <= found <= 8 else 1
    return 1


def read_array(path: Path, mmap_mode: Any = None) -> NDArray[Any]:
    """Read a NumPy file as (H, W, C), values as they are.

    Raises:
        InputError: No such file, or no array of two or three axes.
    """
    packed = split(path) is not None
    source = io.BytesIO(storage.read_bytes(path)) if packed else path
    if not packed:
        check_regular(path)
    try:
        array = np.load(source, None if packed else mmap_mode, allow_pickle=False)
    except Exception as error:  # a header may be anything, sizes beyond memory among them
        raise InputError(f"{path}: not readable as a NumPy array ({error})") from None
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path}: got shape {np.shape(array)}, expected (height, width, channels)")
    return np.atleast_3d(array)


def check_pixels(image: NDArray[Any], name: str, channels: int, scale: float | None) -> Image:
    """Bring pixels to bytes, or say what is in the way.

    Args:
        image: (H, W, C) of any type.
        name: What errors call it.
        channels: C.
        scale: Factor from 16-bit or float values to 0..255; bytes are never scaled.

    Returns:
        (H, W, C) uint8.

    Raises:
        InputError: Another channel count, or more than 8 bits without a scale.
    """
    if image.shape[2] != channels:
        raise InputError(
            f"{name}: got {image.shape[2]} channels, expected {channels} (model.in_channels)"
        )
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    if image.dtype.kind not in "uif":
        raise InputError(f"{name}: got {image.dtype} values, expected numbers")
    if scale is None:
        raise InputError(
            f"{name}: got {image.dtype} values, expected 8-bit; set input.scale to the factor that "
            "brings them to 0..255 (16-bit: 0.00389, 12-bit: 0.0623)"
        )
    scaled = np.nan_to_num(image.astype(np.float32) * np.float32(scale))
    return np.ascontiguousarray(np.rint(scaled).clip(0, 255), np.uint8)
