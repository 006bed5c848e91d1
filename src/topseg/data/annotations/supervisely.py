"""Supervisely: ``meta.json``, and for each image of a folder ``img`` a JSON file in ``ann``.

Source: https://docs.supervisely.com/data-organization/00_ann_format_navi. Its own masks are filled
by OpenCV in the order of the file.
"""

from __future__ import annotations

import base64
import functools
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.data.annotations.bitmaps import decode_bitmap
from topseg.data.annotations.colors import parse_hex
from topseg.data.annotations.each import read_each
from topseg.data.annotations.files import LOOSE, Glimpse, Images, find_files, has_keys, read_schema
from topseg.data.annotations.shapes import Bitmap, Filled, Late, Shape, ShapeError
from topseg.data.annotations.source import Content, Options, Region, Source, SourceFormat

META: Final = "meta.json"
_MOST: Final = 64 << 20  # bytes of one picture inside an annotation
Ring = list[tuple[float, float]]


@dataclass(frozen=True, config=LOOSE)
class SlyClass:
    """A name."""

    title: str
    color: str = ""


@dataclass(frozen=True, config=LOOSE)
class SlyMeta:
    """What is used of ``meta.json``."""

    classes: list[SlyClass]


@dataclass(frozen=True, config=LOOSE)
class SlyPoints:
    """An outline."""

    exterior: Ring
    interior: list[Ring] = Field(default_factory=list)


@dataclass(frozen=True, config=LOOSE)
class SlyBitmap:
    """A picture of a region, and where it begins."""

    data: str
    origin: tuple[int, int]


@dataclass(frozen=True, config=LOOSE)
class SlyObject:
    """A region."""

    classTitle: str
    geometryType: str = "polygon"
    points: SlyPoints | None = None
    bitmap: SlyBitmap | None = None


@dataclass(frozen=True, config=LOOSE)
class SlySize:
    """The size of an image."""

    height: int
    width: int


@dataclass(frozen=True, config=LOOSE)
class SlyFile:
    """What is used of an annotation."""

    size: SlySize
    objects: list[SlyObject]


def recognize(seen: Glimpse) -> bool:
    """Recognize a project by its ``meta.json``."""
    return seen.source.is_dir() and has_keys(seen.source / META, "classes", "title")


def open_source(source: Path, options: Options) -> Source:
    """Read every annotation once, and find their images.

    Raises:
        InputError: There is no project.
    """
    if not (source / META).is_file():
        raise InputError(f"{source}: no project of Supervisely ({META} with ann/ and img/)")
    colors = {
        one.title: parse_hex(one.color) for one in read_schema(source / META, SlyMeta).classes
    }
    files = [path for path in find_files(source, ".json") if path.parent.name == "ann"]
    images = Images(options.images or source)

    def look(path: Path) -> tuple[Path, set[str]]:
        content = read_schema(path, SlyFile)
        beside = path.parent.parent / "img" / path.stem
        image = beside if options.images is None else images.find(path.stem, path)
        if not image.is_file():
            raise InputError(f"{path}: no image {beside}")
        return image, {one.classTitle for one in content.objects}

    found = read_each(files, source, images, options, look, _content)
    palette = [colors.get(name) for name in found.names]
    known = [color for color in palette if color is not None]
    return Source(
        found.names,
        found.items,
        palette=tuple(known) if len(set(known)) == len(palette) else None,
        problems=found.problems,
    )


def _content(path: Path, size: Size, numbers: Mapping[str, int]) -> Content:
    content = read_schema(path, SlyFile)
    regions: list[Region] = []
    left_out = Counter[str]()
    for one in content.objects:
        try:
            regions.append(Region(numbers[one.classTitle], _shape(one)))
        except ShapeError as error:
            left_out[str(error)] += 1
    return Content((content.size.height, content.size.width), tuple(regions), left_out=left_out)


def _shape(one: SlyObject) -> Shape:
    """Return what a region covers.

    Raises:
        ShapeError: It has no area, or cannot be read.
    """
    if one.geometryType == "polygon" and one.points is not None:
        return Filled(_ring(one.points.exterior), tuple(map(_ring, one.points.interior)))
    if one.geometryType == "bitmap" and one.bitmap is not None:
        return Late(functools.partial(_bitmap, one.bitmap))
    raise ShapeError(f"a {one.geometryType[:20]}, which has no outline")


def _bitmap(bitmap: SlyBitmap, size: Size) -> Bitmap:
    left, top = bitmap.origin
    return Bitmap(decode_bitmap(_unpack(bitmap.data), size), top, left)


def _ring(points: Ring) -> NDArray[np.float64]:
    return np.array(points, np.float64).reshape(-1, 2)


def _unpack(text: str) -> bytes:
    """Undo base64, and zlib where that was used, to a bounded size.

    Raises:
        ShapeError: It is neither, or too large.
    """
    engine = zlib.decompressobj()
    try:
        packed = base64.b64decode(text, validate=True)
        if packed.startswith(b"\x89PNG"):
            return packed
        data = engine.decompress(packed, _MOST)
    except (ValueError, zlib.error):
        raise ShapeError("a bitmap that cannot be read") from None
    if engine.unconsumed_tail:
        raise ShapeError("a bitmap of too many bytes")
    return data


FORMAT: Final = SourceFormat(
    name="supervisely",
    title="Supervisely",
    files="`meta.json`; for each data set `ann/*.json` and `img/`",
    fill="OpenCV",
    overlap="order",
    notes="rectangles, lines and points are left out",
    recognize=recognize,
    open=open_source,
)
