"""TIFF: the samples that a file holds, or the tag that stands in the way.

General image libraries bring every TIFF to screen colours: they multiply by a fourth band that they
take for alpha, and scale packed values. A network wants the numbers of the file, so tifffile reads
them as they are stored; only what cannot mean colours is an error, which names it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.installing import pip_install
from topseg.media.bounds import check_claim, truncated
from topseg.media.jpeg2000 import is_lossy

if TYPE_CHECKING:
    from tifffile import TiffPage

# tifffile logs what is damaged in a file; here an error reports it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Values of the tag PhotometricInterpretation.
_WHITE_IS_ZERO: Final = 0
_RGB: Final = 2
_PALETTE: Final = 3
_YCBCR: Final = 6
_OTHERS: Final = {
    4: "a transparency mask",
    5: "amounts of ink (CMYK)",
    8: "CIELAB colours",
    9: "ICCLAB colours",
    10: "ITULAB colours",
    32803: "raw values of a camera's sensor",
    32844: "LogL values",
    32845: "LogLUV values",
    34892: "raw values of a camera's sensor",
}
_JPEG: Final = (6, 7, 34892)  # a JPEG decoder turns YCbCr into RGB itself
_JPEG2000: Final = (33003, 33004, 33005, 34712)
_WEBP: Final = (34927, 50001)
_HEAD: Final = 4096
_ALPHA: Final = (1, 2)  # of the tag ExtraSamples
_MOST_SAMPLES: Final = 4096


def is_tiff(data: bytes) -> bool:
    """Return whether bytes begin as a TIFF file does (BigTIFF too)."""
    return data.startswith(_STARTS)


@dataclass(frozen=True)
class Tiff:
    """The first image of a TIFF file, upright.

    Attributes:
        samples: (H, W, S) as stored.
        bits: Bits of a sample.
        photometric: Value of the tag PhotometricInterpretation.
        colors: (N, 3) uint8 RGB of a palette's indices; None: there is no palette.
        has_alpha: Whether the last sample is flagged as alpha.
        lossy: Whether the samples were compressed with a loss (by JPEG, JPEG 2000 or WebP).
    """

    samples: NDArray[Any]
    bits: int
    photometric: int
    colors: NDArray[np.uint8] | None
    has_alpha: bool
    lossy: bool

    @property
    def is_color(self) -> bool:
        """Whether the first three samples are red, green and blue."""
        return self.photometric in (_RGB, _YCBCR) and self.samples.shape[2] >= 3

    def pixels(self) -> NDArray[Any]:
        """Return the values to look at: palettes as colours, 0 black, fewer than 8 bits as bytes.

        Returns:
            (H, W, S).
        """
        if self.colors is not None:
            return np.asarray(self.colors[self.samples[..., 0]])
        found = self.samples
        if self.photometric == _WHITE_IS_ZERO and found.dtype.kind in "ub":
            found = (2**self.bits - 1 - found).astype(found.dtype)
        if self.bits < 8:
            found = np.rint(found * (255 / (2**self.bits - 1))).astype(np.uint8)
        return np.asarray(found)


def read_tiff(data: bytes, name: str) -> Tiff:
    """Read the first image of a TIFF file.

    Args:
        data: The file's content.
        name: What errors call it.

    Raises:
        InputError: Damaged or truncated, or the tag that says why it cannot be read.
    """
    with _first_page(io.BytesIO(data), name) as page:
        _check_tags(page, name)
        _check_bounds(page, name, len(data))
        samples = page.asarray()
        axes, colormap = page.axes, page.colormap
        orientation = _orientation(page)
        bits, photometric = page.bitspersample, int(page.photometric)
        has_alpha = any(int(extra) in _ALPHA for extra in page.extrasamples[-1:])
        lossy = _is_lossy(page, data)
    if axes == "SYX":
        samples = np.moveaxis(samples, 0, -1)
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8)
    colors = None
    if photometric == _PALETTE and colormap is not None:
        colors = np.ascontiguousarray((colormap.T >> 8).astype(np.uint8))
    return Tiff(
        upright(np.atleast_3d(samples), orientation), bits, photometric, colors, has_alpha, lossy
    )


def check_tiff(path: Path) -> None:
    """Check by the tags of a TIFF file that its samples mean colours, and no preview comes first.

    Raises:
        InputError: They do not, or the file is damaged.
    """
    with _first_page(path, str(path)) as page:
        _check_tags(page, str(path))
        if page.index:
            raise InputError(f"{path}: a preview comes before the image; save the image alone")


def read_tiff_size(path: Path) -> Size:
    """Return the (height, width) of the first image of a TIFF file, upright.

    Raises:
        InputError: Damaged.
    """
    with _first_page(path, str(path)) as page:
        size = page.imagelength, page.imagewidth
        return size[::-1] if _orientation(page) >= 5 else size


def read_tiff_orientation(path: Path) -> int:
    """Return how the first image of a TIFF file is to be turned, 1 to 8.

    Raises:
        InputError: Damaged.
    """
    with _first_page(path, str(path)) as page:
        return _orientation(page)


def _orientation(page: TiffPage) -> int:
    """Return the tag Orientation; a value that means nothing turns nothing."""
    found = page.tags.valueof("Orientation")
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


@contextlib.contextmanager
def _first_page(source: io.BytesIO | Path, name: str) -> Iterator[TiffPage]:
    """Open a TIFF file at its first image; whatever goes wrong in it is damage."""
    import tifffile

    try:
        with tifffile.TiffFile(source) as file:
            if not file.pages:
                raise ValueError("no image in it")
            # A preview may come before the image.
            pages = (cast("TiffPage", page) for page in file.pages)
            yield next((page for page in pages if not page.is_reduced), file.pages.first)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything, struct.error to MemoryError
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "imagecodecs" in reason or isinstance(error, ImportError):  # a codec that it lacks
            raise InputError(
                f"{name}: this kind of TIFF file needs another package ({reason}); "
                f"{pip_install('topseg[tiff]')}"
            ) from None
        raise InputError(
            f"{name}: not readable as an image; damaged TIFF file ({reason})"
        ) from None


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an image (H, W, ...) by the value of the tag Orientation (the same in EXIF)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def _is_lossy(page: TiffPage, data: bytes) -> bool:
    """Return whether the samples were compressed with a loss, by the tag or the first segment."""
    compression = int(page.compression)
    if compression in _JPEG2000 and page.dataoffsets:
        return is_lossy(data[page.dataoffsets[0] :][:_HEAD])
    if compression in _WEBP and page.dataoffsets:
        return b"VP8 " in data[page.dataoffsets[0] :][:_HEAD]
    return compression in _JPEG


def _check_tags(page: TiffPage, name: str) -> None:
    """Check by the tags alone that the samples mean colours."""
    photometric, compression = int(page.photometric), int(page.compression)
    what = _OTHERS.get(photometric)
    if photometric == _YCBCR and compression not in _JPEG:
        what = "YCbCr colours without JPEG"
    if what is not None:
        raise InputError(
            f"{name}: the TIFF file holds {what} (PhotometricInterpretation {photometric}); "
            "convert it to RGB or grey"
        )
    if page.axes not in ("YX", "YXS", "SYX"):
        raise InputError(f"{name}: holds a stack of images (axes {page.axes}), expected one image")
    if page.dtype is None:
        raise InputError(
            f"{name}: samples of {page.bitspersample} bits in format {page.sampleformat} "
            "(SampleFormat) are not supported; convert it to 8, 16 or 32 bits"
        )
    if page.dtype.kind not in "buif":
        raise InputError(f"{name}: got {page.dtype} values, expected whole or real numbers")
    if page.samplesperpixel > _MOST_SAMPLES:
        raise InputError(
            f"{name}: got {page.samplesperpixel} samples per pixel, expected {_MOST_SAMPLES} or "
            "fewer"
        )


def _check_bounds(page: TiffPage, name: str, length: int) -> None:
    """Check what a file claims before memory is taken for it.

    Args:
        page: The image.
        name: What errors call it.
        length: Bytes of the file.
    """
    assert page.dtype is not None
    segment = math.prod(page.chunks)  # of the largest tile or strip
    claimed = max(math.prod(page.shape), segment) * page.dtype.itemsize
    size = page.imagelength, page.imagewidth
    check_claim(name, size, page.samplesperpixel, claimed, length)
    ends = zip(page.dataoffsets, page.databytecounts, strict=False)
    if len(page.dataoffsets) < math.prod(page.chunked) or any(a + n > length for a, n in ends):
        raise truncated(name)
