"""LabelMe: one JSON file for each image, with polygons, rectangles, circles and bitmaps.

Source: https://github.com/wkentaro/labelme, whose own masks are drawn by Pillow with the outlines,
later shapes over earlier ones; ``_background_`` and ``__ignore__`` are its names for no object and
for no class.
"""

from __future__ import annotations

import base64
import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from pydantic.dataclasses import dataclass

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.data.annotations.bitmaps import MAX_PIXELS, decode_bitmap
from topseg.data.annotations.each import read_each
from topseg.data.annotations.files import (
    LOOSE,
    Glimpse,
    Images,
    find_files,
    has_keys,
    read_schema,
    root_of,
)
from topseg.data.annotations.shapes import Bitmap, Late, Outline, Shape, ShapeError
from topseg.data.annotations.source import Content, Options, Region, Source, SourceFormat


@dataclass(frozen=True, config=LOOSE)
class LabelmeShape:
    """A region."""

    label: str
    points: list[tuple[float, float]]
    shape_type: str = "polygon"
    mask: str | None = None


@dataclass(frozen=True, config=LOOSE)
class LabelmeFile:
    """What is used of a file."""

    shapes: list[LabelmeShape]
    imagePath: str
    imageHeight: int | None = None
    imageWidth: int | None = None


def recognize(seen: Glimpse) -> bool:
    """Recognize a file, or a folder with files, of shapes."""
    return any(has_keys(path, "shapes", "imagePath") for path in seen.some(".json"))


def open_source(source: Path, options: Options) -> Source:
    """Read every file once for its names, and find their images.

    Raises:
        InputError: There are no files, or no folder of images.
    """
    files = find_files(source, ".json")
    files = [path for path in files if path == source or has_keys(path, "shapes", "imagePath")]
    if not files:
        raise InputError(f"{source}: no LabelMe files (.json with shapes and imagePath)")
    root = root_of(source)
    images = Images(options.images or root)

    def look(path: Path) -> tuple[Path, set[str]]:
        content = read_schema(path, LabelmeFile)
        return _image_of(path, content, images), {shape.label for shape in content.shapes}

    found = read_each(files, root, images, options, look, _content)
    ignored = frozenset({"__ignore__"})
    return Source(found.names, found.items, problems=found.problems, ignored=ignored)


def _image_of(path: Path, content: LabelmeFile, images: Images) -> Path:
    """Return the image that a file names, or the one beside it with its own name."""
    try:
        return images.find(content.imagePath, path)
    except InputError:
        suffix = Path(content.imagePath.replace("\\", "/")).suffix
        return images.find(f"{path.stem}{suffix}", path)


def _content(path: Path, size: Size, numbers: Mapping[str, int]) -> Content:
    content = read_schema(path, LabelmeFile)
    made_for = content.imageHeight or size[0], content.imageWidth or size[1]
    regions: list[Region] = []
    left_out = Counter[str]()
    for shape in content.shapes:
        try:
            regions.append(Region(numbers[shape.label], _shape(shape)))
        except ShapeError as error:
            left_out[str(error)] += 1
    return Content(made_for, tuple(regions), left_out=left_out)


def _shape(shape: LabelmeShape) -> Shape:
    """Return what a region covers.

    Raises:
        ShapeError: It has no area, or is not of the kinds that are known.
    """
    points = np.array(shape.points, np.float64).reshape(-1, 2)
    if shape.shape_type in ("polygon", "oriented_rectangle", ""):
        return Outline(points)
    if shape.shape_type == "rectangle":
        return Outline(points, "rectangle")
    if shape.shape_type == "circle":
        return Outline(points, "circle")
    if shape.shape_type == "mask":
        if shape.mask is None or len(points) != 2:
            raise ShapeError("a bitmap without its pixels or its two corners")
        left, top = np.trunc(points[0].clip(-MAX_PIXELS, MAX_PIXELS)).astype(int).tolist()
        return Late(functools.partial(_bitmap, shape.mask, top, left))
    raise ShapeError(f"a {shape.shape_type[:20]}, which has no area")


def _bitmap(text: str, top: int, left: int, size: Size) -> Bitmap:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise ShapeError("a bitmap that cannot be read") from None
    return Bitmap(decode_bitmap(data, size), top, left)


FORMAT: Final = SourceFormat(
    name="labelme",
    title="LabelMe",
    files="a `.json` for each image, beside it or elsewhere",
    fill="Pillow",
    overlap="order",
    notes="`__ignore__` is no class; points and lines are left out",
    recognize=recognize,
    open=open_source,
)
