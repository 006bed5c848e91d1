"""Rasters: images too large for memory, read row by row; masks written as GeoTIFF.

GDAL (by rasterio) decodes no more than the rows asked for. It would also open whatever a file's
content names, other machines' addresses among them; so it may use a few drivers only, and a VRT
counts only by its name and where all its parts are plain files of those drivers. A mask keeps what
places its image on Earth: the reference system with the transform, ground control points, or
rational polynomials.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from topseg.core.errors import InputError
from topseg.core.files import atomic_path, check_regular
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet, Mask
from topseg.media.images import Image, check_pixels, read_bytes
from topseg.media.stored import check_stored

_BLOCK: Final = 512
_LARGEST_VRT: Final = 64 * 2**20
# fmt: off
_VRT_TAGS: Final = frozenset(
    {
        "VRTDataset", "SRS", "GeoTransform", "GCPList", "GCP", "Metadata", "MDI", "VRTRasterBand",
        "ColorInterp", "NoDataValue", "HideNoDataValue", "Description", "UnitType", "Offset",
        "Scale", "ColorTable", "Entry", "CategoryNames", "Category", "MaskBand", "SimpleSource",
        "ComplexSource", "SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect",
        "NODATA", "ScaleOffset", "ScaleRatio", "LUT", "UseMaskBand", "BlockXSize", "BlockYSize"
    }
)
# fmt: on
_CHUNK: Final = 64
"""Rows whose values are brought to bytes at a time: float copies of more would be large."""
_SIGNATURES: Final = {
    rb"II\*\0|MM\0\*|II\+\0|MM\0\+": "GTiff",
    rb"\x89PNG\r\n": "PNG",
    rb"\xff\xd8\xff": "JPEG",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JP2OpenJPEG",
    rb"BM": "BMP",
    rb"GIF8": "GIF",
    rb"RIFF....WEBP": "WEBP",
    rb"P[456]\s": "PNM",
    rb"EHFA_HEADER_TAG": "HFA",
}
"""How a file begins -> the only driver that may open it: formats that hold their pixels."""
_GDAL: Final = {
    # A second barrier, should a file name an address in a way that is not checked here.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_CACHEMAX": 128 * 2**20,  # GDAL's default is a share of the machine's memory
    # Errors instead of grey (JPEG) or noise (PNG) for the missing rest of a file.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
}


@dataclass(frozen=True)
class Raster:
    """An open image file.

    Attributes:
        path: The file.
        channels: C, the bands that are read.
        scale: Factor from 16-bit or float values to 0..255.
        source: The file as rasterio opened it.
    """

    path: Path
    channels: int
    scale: float | None
    source: Any

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.source.height, self.source.width

    def read_rows(self, start: int, stop: int) -> tuple[Image, NDArray[np.bool_]]:
        """Read rows over the whole width.

        Args:
            start: The first row.
            stop: The row after the last one.

        Returns:
            (stop - start, W, C) uint8, and (stop - start, W): whether there is data at a pixel, by
            the file's nodata value, mask or alpha band, or by a value that is no number.

        Raises:
            InputError: Damaged or truncated, or values of more than 8 bits without a scale.
        """
        window = Window(0, start, self.size[1], stop - start)
        first = [1] * 3 if self.channels == 3 and _is_grey(self.source) else None
        try:
            bands = self.source.read(first or [*range(1, self.channels + 1)], window=window)
            valid = np.ones(bands.shape[1:], np.bool_)
            if self._has_mask():
                valid = self.source.dataset_mask(window=window) > 0
        except RasterioError as error:
            raise InputError(
                f"{self.path}: rows {start} to {stop} cannot be read; the file is damaged or "
                f"truncated, get it again ({error.__cause__ or error})"
            ) from None
        if bands.dtype.kind == "f":
            valid &= np.isfinite(bands).all(axis=0)
        bands = self._as_seen(bands)
        pixels = np.empty((stop - start, self.size[1], self.channels), np.uint8)
        for top in range(0, len(pixels), _CHUNK):
            values = np.moveaxis(bands[:, top : top + _CHUNK], 0, -1)
            pixels[top : top + _CHUNK] = check_pixels(
                values, str(self.path), self.channels, self.scale
            )
        return pixels, valid

    def _has_mask(self) -> bool:
        """Whether the file says where there is no data, in another way than by a band to read."""
        flags = self.source.mask_flag_enums
        if any(MaskFlags.alpha in of_band for of_band in flags):
            # Near infrared is often flagged as alpha, and water is dark in it.
            return ColorInterp.alpha not in self.source.colorinterp[: self.channels]
        return any(MaskFlags.all_valid not in of_band for of_band in flags)

    def _as_seen(self, bands: NDArray[Any]) -> NDArray[Any]:
        """Return values with 0 black and fewer than 8 bits as bytes, as images are read."""
        bits = int(self.source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 0))
        largest = 2 ** (bits or 8 * bands.dtype.itemsize) - 1
        white_is_zero = self.source.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        if white_is_zero and bands.dtype.kind == "u":
            bands = (largest - bands).astype(bands.dtype)
        if 0 < bits < 8:
            bands = np.rint(bands * (255 / largest)).astype(np.uint8)
        return bands

    def place(self) -> dict[str, Any]:
        """Return what places the image on Earth, as ``rasterio.open`` takes it."""
        points, system = self.source.gcps
        found = {"crs": system or self.source.crs, "rpcs": self.source.rpcs}
        if points:
            found["gcps"] = points
        elif not self.source.transform.is_identity:
            found["transform"] = self.source.transform
        return {key: value for key, value in found.items() if value is not None}


@contextlib.contextmanager
def open_raster(path: Path, channels: int, scale: float | None = None) -> Iterator[Raster]:
    """Open an image file for reading by rows.

    The first C bands are taken. One band of grey stands for RGB where C is 3; nothing else is
    guessed.

    Args:
        path: GeoTIFF, PNG, JPEG, JPEG 2000, BMP, GIF, WebP, PNM or Erdas Imagine; or a ``.vrt``
            that puts several such files together.
        channels: C, what the model takes.
        scale: Factor from 16-bit or float values to 0..255; 8-bit images are never scaled.

    Raises:
        InputError: Not an image, bands that the model cannot take, an image to be turned, or a VRT
            with parts that are no plain files.
    """
    check_regular(path)
    with _gdal(), _plain_name(path) as name:
        if path.suffix.lower() == ".vrt":
            _check_parts(path)
            driver = "VRT"
        else:
            driver = _driver_of(path)
        try:
            source = rasterio.open(name, driver=driver)
        except RasterioError as error:
            raise InputError(f"{path}: not readable as an image ({error})") from None
        with source:
            check_stored(path, source.driver)
            _check_bands(path, source, channels)
            yield Raster(path, channels, scale, source)


def write_mask(
    path: Path, strips: Iterable[Mask], size: Size, labels: LabelSet, place: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Write a mask as GeoTIFF: tiled, deflate-compressed, with palette, BigTIFF where needed.

    Args:
        path: The file, which appears when it is complete.
        strips: The mask from top to bottom, (n, W) each, of any n.
        size: (height, width) of all of them.
        labels: The classes; their ignore index becomes the file's nodata value.
        place: Of :meth:`Raster.place`.

    Returns:
        (K,) pixels of each class.

    Raises:
        InputError: The file cannot be written.
    """
    counts = np.zeros(labels.ignore_index + 1, np.int64)
    profile = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": 1,
        "dtype": labels.dtype.name,
        "nodata": labels.ignore_index,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    with (
        _gdal(),
        atomic_path(path) as temporary,
        _plain_folder(temporary) as name,
        rasterio.open(name, "w", **profile, **place) as file,
    ):
        if labels.dtype == np.uint8:
            file.write_colormap(1, dict(enumerate(labels.palette)))
        # Whole blocks: a block that is written twice takes its place in the file twice.
        for top, rows in _regroup(strips, _BLOCK):
            file.write(rows, 1, window=Window(0, top, size[1], len(rows)))
            counts += np.bincount(rows.ravel(), minlength=len(counts))
    return counts[: labels.num_classes]


@contextlib.contextmanager
def _gdal() -> Iterator[None]:
    with warnings.catch_warnings(), rasterio.Env(**_GDAL):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # photographs are welcome too
        yield


@contextlib.contextmanager
def _plain_name(path: Path) -> Iterator[str]:
    """Yield a name of a file that GDAL takes for a file: absolute, no address, UTF-8.

    A file whose name is no UTF-8 goes by a link; what lies beside it is not found then.
    """
    name = os.path.abspath(path)
    if name.startswith("/vsi"):
        raise InputError(f"{path}: a path of GDAL's own, expected a file")
    if _is_utf8(name):
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"image{path.suffix if _is_utf8(path.suffix) else ''}"
        link.symlink_to(name)
        yield str(link)


@contextlib.contextmanager
def _plain_folder(path: Path) -> Iterator[str]:
    """Yield a name of a file to be written, by a link to its folder where that is no UTF-8."""
    name = os.path.abspath(path)
    if _is_utf8(name):
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "folder"
        link.symlink_to(Path(name).parent, target_is_directory=True)
        yield str(link / path.name)


def _driver_of(path: Path) -> str:
    """Return the driver for a file by its first bytes, whatever its name is.

    Raises:
        InputError: It begins as no format does that may be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    for signature, driver in _SIGNATURES.items():
        if re.match(signature, start, re.DOTALL):
            return driver
    raise InputError(
        f"{path}: not readable as an image; expected GeoTIFF, PNG, JPEG, JPEG 2000, BMP, GIF, "
        "WebP, PNM, Erdas Imagine or a file NAME.vrt"
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_parts(path: Path) -> None:
    """Check that a VRT only puts plain files together.

    Raises:
        InputError: It is no such VRT.
    """
    if path.stat().st_size > _LARGEST_VRT:
        raise InputError(f"{path}: not readable as a VRT (longer than {_LARGEST_VRT >> 20} MiB)")
    text = read_bytes(path)
    if b"<!" in text.replace(b"<!--", b""):
        raise InputError(f"{path}: not readable as a VRT (with declarations)")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as a VRT ({error})") from None
    for node in root.iter():
        # Warped, derived and raw bands, other multidimensional sources: each names parts its way.
        if node.tag not in _VRT_TAGS or "subClass" in node.attrib:
            what = node.attrib.get("subClass", node.tag)
            raise InputError(
                f"{path}: got a VRT with {str(what)[:80]}, expected bands of SimpleSource or "
                f"ComplexSource; write it out first: gdal_translate {path} WHOLE.tif"
            )
        if node.tag != "SourceFilename":
            continue
        given = (node.text or "").strip()
        base = path.parent if node.get("relativeToVRT") == "1" else Path()
        part = base / given
        try:
            check_regular(part)
            _driver_of(part)
        except InputError:
            raise InputError(
                f"{path}: its part {given[:200]!r} is no image file on this machine; a VRT's parts "
                "have to be"
            ) from None


def _is_grey(source: Any) -> bool:
    return [band for band in _meaning(source) if band != ColorInterp.alpha] == [ColorInterp.gray]


def _meaning(source: Any) -> list[ColorInterp]:
    """Return what the bands mean; grey of one bit or with white at 0 has other names in GDAL."""
    meaning = list(source.colorinterp)
    white_is_zero = source.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    if meaning == [ColorInterp.undefined] and white_is_zero:
        return [ColorInterp.gray]
    if (
        meaning == [ColorInterp.palette]
        and source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS") == "1"
    ):
        colors = source.colormap(1)
        if len(colors) == 2 and colors[0][:3] == (0, 0, 0) and colors[1][:3] == (255, 255, 255):
            return [ColorInterp.gray]
    return meaning


def _check_bands(path: Path, source: Any, channels: int) -> None:
    meaning = _meaning(source)
    if ColorInterp.palette in meaning:
        raise InputError(
            f"{path}: holds indices into a palette, expected colours; expand it first: "
            f"gdal_translate -expand rgb {path} EXPANDED.tif"
        )
    if channels == 1 and meaning and meaning[0] == ColorInterp.red:
        raise InputError(
            f"{path}: got a colour image, expected one grey channel (model.in_channels); "
            "make it grey first"
        )
    if source.count < channels and not (channels == 3 and _is_grey(source)):
        raise InputError(
            f"{path}: got {source.count} bands, expected {channels} or more, of which the first "
            f"{channels} are taken (model.in_channels)"
        )


def _regroup(strips: Iterable[Mask], rows: int) -> Iterator[tuple[int, Mask]]:
    """Return (first row, strip) in strips of so many rows; the last may have fewer."""
    top, waiting = 0, None
    for strip in strips:
        waiting = strip if waiting is None else np.concatenate((waiting, strip))
        while len(waiting) >= rows:
            yield top, waiting[:rows]
            top, waiting = top + rows, waiting[rows:]
    if waiting is not None and len(waiting):
        yield top, waiting
