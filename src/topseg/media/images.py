"""Images: files become arrays here, and nowhere else.

OpenCV decodes and turns an image by its EXIF orientation (TIFF and JPEG 2000 are read as they are
stored); what a decoder would hide is made an error: the missing rest of a truncated file, or the
low bits of a 16-bit one.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from topseg.core import storage
from topseg.core.archives import split
from topseg.core.errors import InputError
from topseg.core.files import check_regular
from topseg.core.geometry import Size
from topseg.media.jpeg2000 import HEAD, is_jpeg2000, read_jpeg2000, read_jpeg2000_size
from topseg.media.netpbm import largest_value
from topseg.media.tiff import is_tiff, read_tiff, read_tiff_size, upright

Image = NDArray[np.uint8]
"""(H, W, C) uint8, RGB for three channels."""

# A JPEG marker that is neither a stuffed byte (FF 00), a restart (FF D0-D7) nor filling (FF FF).
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_END: Final = 0xD9
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_EXIF_ORIENTATION: Final = 0x0112
_HEIF: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def read_image(path: str | Path, channels: int = 3, scale: float | None = None) -> Image:
    """Read an image file, turned upright by its EXIF orientation.

    Args:
        path: An image in any format OpenCV reads (1, 3 or 4 channels), or a ``.npy`` array (H, W)
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


def decode_image(data: bytes, name: str, channels: int = 3, scale: float | None = None) -> Image:
    """Decode the bytes of an image file as :func:`read_image` does.

    Args:
        data: The file's content.
        name: What errors call it.
        channels: C.
        scale: Factor from 16-bit or float values to 0..255.

    Raises:
        InputError: Not an image, truncated, another channel count, or more than 8 bits without a
            scale.
    """
    return check_pixels(_decode(data, name, channels), name, channels, scale)


def read_size(path: str | Path) -> Size:
    """Return an image's (height, width), EXIF orientation applied, from the file's header alone.

    Raises:
        InputError: No such file, or not an image.
    """
    import PIL.Image

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
        with PIL.Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not readable as an image ({error})") from None
    return (width, height) if turned else (height, width)


def is_whole(data: bytes) -> bool:
    """Return whether a JPEG or PNG file reaches its own end (True for every other format).

    Decoders fill the missing rest of a JPEG with grey. Its segments, or a PNG's chunks, are walked
    up to the end marker, so that neither an embedded thumbnail nor bytes after the end mislead, and
    a chunk that claims to be longer than its file reaches no decoder (OpenCV allocates what it
    claims, up to 4 GiB).
    """
    if data.startswith(_PNG_START):
        return _png_is_whole(data)
    if not data.startswith(b"\xff\xd8"):
        return True
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        at = found.end()
        if data[at - 1] == _JPEG_END:
            return True
        at += int.from_bytes(data[at : at + 2], "big")  # a segment begins with its length
    return False


def _png_is_whole(data: bytes) -> bool:
    """Walk the chunks: length, name, content, checksum."""
    at = len(_PNG_START)
    while at + 12 <= len(data):
        name = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if name == b"IEND":
            return at <= len(data)
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


def _decode(data: bytes, name: str, channels: int) -> NDArray[Any]:
    """Decode to (H, W, C), values as they are in the file."""
    import cv2

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
    if data.startswith(b"GIF8") or (data.startswith(b"BM") and data[28:30] == b"\x10\0"):
        # OpenCV makes transparent pixels black, and does not spread 5 and 6 bits to 8.
        return _by_pillow(data, name, channels)
    if data.startswith(b"P7"):  # OpenCV swaps its red and blue
        raise InputError(f"{name}: PAM is not supported; save the image as PNG")
    if not is_whole(data):
        raise InputError(f"{name}: truncated, the end of the image is missing; get the file again")
    flags = {
        1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH,
        3: cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH,
    }.get(channels, cv2.IMREAD_UNCHANGED)
    packed = data[4:8] == b"ftyp"  # AVIF, whose own turn OpenCV does not know
    if packed:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        return _by_pillow(data, name, channels)
    image = np.atleast_3d(image)
    largest = largest_value(data)
    if largest is not None and 1 < largest < 255:  # fewer than 8 bits are spread, as of TIFF
        image = np.rint(image * (255 / largest)).astype(np.uint8)
    if channels == 3:  # not by IMREAD_COLOR_RGB: OpenCV 5.0 scrambles 16-bit TIFF under it
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    elif channels == 4 and image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    if packed or (channels == 4 and image.shape[2] == 4):
        image = upright(image, _orientation(io.BytesIO(data)))
    return image


def _first(pixels: NDArray[Any], channels: int, *, colors: bool, has_alpha: bool) -> NDArray[Any]:
    """Take the first C samples; grey becomes RGB for 3, and colours become grey for 1."""
    import cv2

    if channels == 1 and colors and pixels.dtype in (np.uint8, np.uint16, np.float32):
        return np.atleast_3d(
            cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)
        )
    if channels == 3 and pixels.shape[2] == 1 + has_alpha:  # grey, or grey with alpha
        return pixels[..., :1].repeat(3, axis=2)
    return pixels[..., :channels]


def _by_pillow(data: bytes, name: str, channels: int) -> NDArray[Any]:
    """Decode what OpenCV does not read (HEIC by pillow-heif, where it is installed)."""
    import PIL.Image
    import PIL.ImageOps

    if data[4:8] == b"ftyp" and find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, "RGB")
    try:
        with PIL.Image.open(io.BytesIO(data)) as file:
            pixels = np.atleast_3d(np.asarray(PIL.ImageOps.exif_transpose(file).convert(mode)))
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        raise InputError(f"{name}: not readable as an image{_remedy(data)}") from None
    return pixels


def _remedy(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "; HEIC needs another package: pip install pillow-heif"
    return "; damaged, or no image format"


def read_orientation(path: Path) -> int:
    """Return a file's EXIF orientation, 1 to 8; 1 is upright, or not known."""
    with contextlib.suppress(OSError, ValueError, SyntaxError), path.open("rb") as file:
        return _orientation(file)
    return 1


def _orientation(file: BinaryIO) -> int:
    import PIL.Image

    no_image = PIL.Image.DecompressionBombError, PIL.UnidentifiedImageError  # to Pillow
    with warnings.catch_warnings(), contextlib.suppress(*no_image):
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # no pixel is read
        with PIL.Image.open(file) as image:
            return int(image.getexif().get(_EXIF_ORIENTATION, 1))
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
