"""Rasters: images too large for memory, read row by row; masks written as GeoTIFF.

GDAL (by rasterio) opens what it knows, GeoTIFF above all, and decodes no more than the rows asked
for. A mask keeps what places its image on Earth: the reference system with the transform, ground
control points, or rational polynomials.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
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
from topseg.core.files import atomic_path
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet, Mask
from topseg.media.images import Image, check_pixels, read_orientation
from topseg.media.tiff import check_tiff

_BLOCK: Final = 512
_CHUNK: Final = 64
"""Rows whose values are brought to bytes at a time: float copies of more would be large."""
_GDAL: Final = {
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
        if self.source.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
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
        path: Any image that GDAL opens: GeoTIFF, PNG, JPEG, JPEG 2000, a VRT of many files ...
        channels: C, what the model takes.
        scale: Factor from 16-bit or float values to 0..255; 8-bit images are never scaled.

    Raises:
        InputError: Not an image, bands that the model cannot take, or an image to be turned.
    """
    with _gdal(), _spelled(path) as address:
        try:
            source = rasterio.open(address)
        except RasterioError as error:
            raise InputError(f"{path}: not readable as an image ({error})") from None
        with source:
            if source.driver in ("GTiff", "COG"):
                check_tiff(path)
            _check_bands(path, source, channels)
            turn = read_orientation(path)
            if turn != 1:
                raise InputError(
                    f"{path}: is to be shown turned (EXIF orientation {turn}), which rows of a "
                    "file cannot be; turn the image itself first"
                )
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
        _spelled(temporary) as address,
        rasterio.open(address, "w", **profile, **place) as file,
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
def _spelled(path: Path) -> Iterator[Path]:
    """Return a path that GDAL can take: one whose name is no UTF-8 by a link to it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"image{path.suffix.encode('ascii', 'ignore').decode()}"
            link.symlink_to(path.resolve())
            yield link
    else:
        yield path


def _is_grey(source: Any) -> bool:
    return [band for band in source.colorinterp if band != ColorInterp.alpha] == [ColorInterp.gray]


def _check_bands(path: Path, source: Any, channels: int) -> None:
    if ColorInterp.palette in source.colorinterp:
        raise InputError(
            f"{path}: holds indices into a palette, expected colours; expand it first: "
            f"gdal_translate -expand rgb {path} EXPANDED.tif"
        )
    if channels == 1 and source.count and source.colorinterp[0] == ColorInterp.red:
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
