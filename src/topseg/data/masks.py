"""Masks: from the numbers or colours of a file to class indices, by one lookup table.

Pillow opens them (and tifffile a TIFF): it keeps a palette PNG's indices, which are no colours
here, and the 16 bits of a mask with more than 255 classes. A value that has no
meaning is an error with its place, never a silent class.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.installing import need
from topseg.core.labels import LabelMap, LabelSet, Mask
from topseg.data.errors import (
    DataError,
    UnknownValuesError,
    can_ignore,
    ignore_colors_setting,
    ignore_setting,
)
from topseg.media.images import is_whole, orientation_of, read_array, read_bytes
from topseg.media.jpeg2000 import is_jpeg2000, read_jpeg2000
from topseg.media.netpbm import largest_value
from topseg.media.png import is_deep_png, is_png, read_deep_png
from topseg.media.tiff import is_tiff, read_tiff, upright

_LOSSY: Final = ("JPEG", "MPO", "AVIF", "HEIF")
UNKNOWN: Final = -1
"""In the place of a class: the raw value has no meaning."""


class MaskReader:
    """Reads mask files of one data set.

    Attributes:
        labels: The classes that the numbers become.
        ignored: Raw values of pixels without a class, as given.
        colored: Whether files hold colours of the palette instead of indices.
    """

    def __init__(
        self,
        labels: LabelSet,
        label_map: LabelMap | None = None,
        ignore_index: int | tuple[int, ...] | None = 255,
        colors: bool = False,
        ignore_colors: tuple[tuple[int, int, int], ...] = (),
        nearest: bool = False,
    ) -> None:
        """Build the table from raw values (or colours) to classes.

        Args:
            labels: The classes.
            label_map: Raw value -> class or "ignore"; None, and a map of ignored values alone,
                take the values 0 to K-1 as they are.
            ignore_index: Raw values of pixels without a class, besides the map's. Above 255 classes
                255 is a class, and 65535 takes its place here.
            colors: Files hold colours of the palette instead of indices.
            ignore_colors: Colours of pixels without a class.
            nearest: Give an unknown colour to the nearest class (by Euclidean distance in RGB).

        Raises:
            InputError: The map leads to a class that is not there, two classes share a colour, or
                OpenCV is not installed.
        """
        need("cv2", "data")
        self.labels = labels
        self._nearest = colors and nearest
        self.colored = colors
        self._ignore_colors = ignore_colors
        given = (ignore_index,) if isinstance(ignore_index, int) else ignore_index or ()
        ignored = [
            labels.ignore_index if value == 255 and labels.num_classes > 255 else value
            for value in given
        ]
        self.ignored = tuple(ignored)
        if colors:
            self._codes = _color_codes(labels, ignore_colors)
            self._table = _color_table(self._codes)
        else:
            self._table = _index_table(labels, label_map, ignored)

    def __call__(self, path: Path) -> Mask:
        """Read one mask, turned upright by its EXIF orientation.

        Returns:
            (H, W) class indices in the label set's type, its ignore value elsewhere.

        Raises:
            InputError: Unreadable, of another kind than declared, or a value without a meaning.
        """
        raw = self.read_raw(path)
        classes = self._look_up(raw)
        if classes.min() == UNKNOWN:
            if not self._nearest:
                raise self._unknown(path, raw, classes)
            classes = self._by_distance(raw, classes)
        return classes.astype(self.labels.dtype)

    def read_known(self, path: Path) -> NDArray[np.int32]:
        """Read a mask as far as its values have a meaning.

        Returns:
            (H, W) class indices, the label set's ignore value, and ``UNKNOWN``.

        Raises:
            InputError: Unreadable, or of another kind than declared.
        """
        return self._look_up(self.read_raw(path))

    def read_raw(self, path: Path) -> NDArray[Any]:
        """Read a mask's own numbers, (H, W): its indices, or its colours as red-green-blue codes.

        Raises:
            InputError: Unreadable, or of another kind than declared.
        """
        if path.suffix.lower() == ".npy":
            array = read_array(path)
        else:
            data = read_bytes(path)
            if is_tiff(data):
                tiff = read_tiff(data, str(path))
                if tiff.lossy and not self._nearest:
                    raise InputError(
                        f"{path}: its compression changes a mask's values; save masks as PNG"
                    )
                if tiff.samples.shape[2] == 2 and not tiff.has_alpha:
                    raise InputError(f"{path}: got 2 bands, expected one number per pixel")
                array = tiff.pixels() if self.colored else tiff.samples
            elif is_jpeg2000(data):
                stored = read_jpeg2000(data, str(path))
                array = stored.samples
                if stored.lossy and not self._nearest:
                    raise InputError(f"{path}: JPEG2000 changes a mask's values; save masks as PNG")
            else:
                array = self._by_pillow(data, path)
        if not array.size:
            raise InputError(f"{path}: got no pixels, expected a mask")
        if self.colored:
            return self._colors_of(array, path)
        try:
            return _numbers_of(array, path)
        except InputError as error:
            if self._in_palette(array):
                what = f"{path}: got the colours of the classes, expected one number per pixel"
                raise DataError(what, "masks=color") from None
            raise error

    def _by_pillow(self, data: bytes, path: Path) -> NDArray[Any]:
        """Decode a mask that is no TIFF: (H, W) numbers, or (H, W, C) colours."""
        if not is_whole(data):
            raise InputError(f"{path}: truncated, the end of the mask is missing; get it again")
        try:
            file = PIL.Image.open(io.BytesIO(data))
            if data[:2] == b"BM" and data[28] in (2, 4) and file.mode == "L":  # read as bytes
                raise OSError(f"a grey BMP of {data[28]} bits; save masks as PNG")
            array = np.asarray(file.convert("RGB") if self.colored else file)
        except PIL.UnidentifiedImageError:
            raise InputError(
                f"{path}: not readable as a mask; damaged, or no image format"
            ) from None
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise InputError(f"{path}: not readable as a mask ({error})") from None
        lossy = file.format in _LOSSY or _is_lossy_webp(data)
        if lossy and not self._nearest:
            raise InputError(f"{path}: {file.format} changes a mask's values; save masks as PNG")
        stored = array if self.colored else _as_stored(array, data, str(path))
        return upright(stored, orientation_of(file))

    def _colors_of(self, array: NDArray[Any], path: Path) -> NDArray[np.int32]:
        if array.ndim == 2 or array.shape[2] < 3:  # grey is a colour too
            array = np.repeat(np.atleast_3d(array)[..., :1], 3, axis=2)
        if array.dtype != np.uint8:
            raise InputError(f"{path}: got {array.dtype} colours, expected 8 bits per channel")
        return encode_colors(array)

    def _in_palette(self, array: NDArray[Any]) -> bool:
        """Return whether most pixels have the colour of a class, and of more than one."""
        if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
            return False
        codes, counts = np.unique(encode_colors(array), return_counts=True)
        known = np.isin(codes, encode_colors(self.labels.colors()))
        return int(known.sum()) > 1 and int(counts[known].sum()) > array[..., 0].size / 2

    def _look_up(self, raw: NDArray[Any]) -> NDArray[np.int32]:
        classes: NDArray[np.int32]
        if self.colored:
            classes = self._table[raw] - 1
        elif raw.dtype == np.uint8:
            import cv2  # whose look-up is several times as fast as NumPy's

            classes = cv2.LUT(raw, self._table[:256])
        else:
            last = len(self._table) - 1  # stands for every value that is not in the table
            known = (raw >= 0) & (raw < last)
            # As int64 first: in a narrow type such as int8 the last place would wrap around.
            classes = self._table[np.where(known, raw.astype(np.int64), last)]
        return classes

    def _by_distance(self, raw: NDArray[Any], classes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Enter the unknown colours of a mask into the table, then look it up again."""
        unknown = np.unique(raw[classes == UNKNOWN])
        known = np.fromiter(self._codes, np.int32)
        targets = np.fromiter(self._codes.values(), np.int32)
        for block in np.array_split(unknown, len(unknown) // 4096 + 1):
            distance = ((decode_colors(block)[:, None] - decode_colors(known)[None]) ** 2).sum(-1)
            self._table[block] = targets[distance.argmin(1)] + 1
        return self._look_up(raw)

    def _unknown(self, path: Path, raw: NDArray[Any], classes: NDArray[np.int32]) -> InputError:
        where = classes == UNKNOWN
        row, column = divmod(int(where.argmax()), where.shape[1])
        value = int(raw[row, column])
        place = f"row {row}, column {column} ({int(where.sum())} such pixels)"
        if self.colored:
            color = decode_colors(np.array([value], np.int32))[0].tolist()
            rest = (
                "is not in the palette; add its class, list it in data.ignore_colors, or set "
                "data.nearest_color=true"
            )
            codes = frozenset(np.unique(raw[where]).tolist())
            return UnknownValuesError(
                f"{path}: colour {color} at {place} {rest}",
                *ignore_colors_setting(codes, self._ignore_colors),
                place=place,
                at=(row, column),
                cause=f"colour {color} {rest}",
                values=codes,
            )
        known = np.flatnonzero(self._table != UNKNOWN)
        values = frozenset(np.unique(raw[where]).tolist())
        rest = f"expected {_ranges(known.tolist())}; correct the classes, or ignore such pixels"
        return UnknownValuesError(
            f"{path}: value {value} at {place}, {rest}",
            *([ignore_setting({*values, *self.ignored})] if can_ignore(values) else ()),
            place=place,
            at=(row, column),
            cause=f"value {value}, {rest}",
            values=values,
            others=bool((classes == self.labels.ignore_index).any()),
        )


def _as_stored(array: NDArray[Any], data: bytes, name: str) -> NDArray[Any]:
    """Return the numbers of a file that Pillow has spread, turned or cut."""
    if is_deep_png(data):
        return read_deep_png(data, name)
    if is_png(data):
        bits, color = data[24:26]
        if color == 0 and bits in (2, 4):  # grey, spread to 0..255
            return np.asarray(array // (255 // (2**bits - 1)))
    largest = largest_value(data)
    if largest == 1 and array.dtype == np.bool_:  # a bitmap, whose 1 is black
        return ~array
    if largest is not None and largest not in (255, 65535):
        spread = 255 if largest < 255 else 65535
        array = np.rint(array * (largest / spread)).astype(np.uint16)
    return array


def _is_lossy_webp(data: bytes) -> bool:
    """Return whether a WebP file holds a lossy frame, at once or after its extended header."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or data[12:16] == b"VP8L":
        return False
    return b"VP8 " in data[12:4096]


def _numbers_of(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the one number per pixel that a mask of indices holds."""
    bands = array.shape[2] if array.ndim == 3 else 1
    if bands > 4:
        raise InputError(f"{path}: got {bands} bands, expected one number per pixel")
    if array.ndim == 3 and (
        bands < 3 or all((array[..., 0] == array[..., i]).all() for i in (1, 2))
    ):
        array = array[..., 0]  # with alpha, or grey that was saved as colours
    if array.ndim != 2:
        raise InputError(
            f"{path}: got colours, expected one number per pixel (grey or palette PNG); if they "
            "are the palette's colours, set masks=color in the data section"
        )
    if array.dtype.kind not in "uib":
        raise InputError(f"{path}: got {array.dtype} values, expected whole numbers")
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def encode_colors(image: NDArray[Any]) -> NDArray[np.int32]:
    """Turn (..., 3) RGB into one number per pixel, red the highest byte."""
    wide = image.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def decode_colors(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Turn colour codes back into (..., 3) RGB."""
    return np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=-1)


def _index_table(
    labels: LabelSet, label_map: LabelMap | None, ignored: Sequence[int]
) -> NDArray[np.int32]:
    own: LabelMap = dict.fromkeys(ignored, "ignore")
    if label_map is None or set(label_map.values()) == {"ignore"}:
        as_they_are: LabelMap = {value: value for value in range(labels.num_classes)}
        label_map = {**as_they_are, **own, **(label_map or {})}
    else:
        label_map = {**own, **label_map}
    table = np.full(max(256, *label_map) + 2, UNKNOWN, np.int32)  # the last: all above it
    for value, target in label_map.items():
        if target != "ignore" and not 0 <= target < labels.num_classes:
            raise InputError(
                f"data.label_map: {value}: got class {target}, expected 0 to "
                f"{labels.num_classes - 1} or 'ignore'"
            )
        table[value] = labels.ignore_index if target == "ignore" else target
    return table


def _color_codes(
    labels: LabelSet, ignore_colors: tuple[tuple[int, int, int], ...]
) -> dict[int, int]:
    """Return colour code -> class, or the ignore value."""
    codes: dict[int, int] = {}
    for index, code in enumerate(encode_colors(labels.colors()).tolist()):
        if code in codes:
            names = f"'{labels.names[codes[code]]}' and '{labels.names[index]}'"
            raise InputError(f"data.palette: classes {names} share a colour; masks need one each")
        codes[code] = index
    for color in ignore_colors:
        code = int(encode_colors(np.array(color)))
        if code in codes:
            raise InputError(f"data.ignore_colors: {list(color)} is also a class's colour")
        codes[code] = labels.ignore_index
    return codes


def _color_table(codes: dict[int, int]) -> NDArray[np.int32]:
    """Return colour code -> class + 1, 0 where unknown: zeros take no memory until touched."""
    table = np.zeros(1 << 24, np.int32)
    for code, target in codes.items():
        table[code] = target + 1
    return table


def _ranges(values: list[int]) -> str:
    """Write numbers as '0-149, 255'."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
