"""Cityscapes: polygons of its annotation tool, one JSON file for each image.

Source: https://github.com/mcordts/cityscapesScripts, whose label images are filled by Pillow in the
order of the file; deleted objects are skipped, a name with "group" behind it is the name, and the
classes are the 19 that its benchmark counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from pydantic.dataclasses import dataclass

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import standard_set
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
from topseg.data.annotations.shapes import Outline
from topseg.data.annotations.source import Content, Options, Region, Source, SourceFormat

_END: Final = "_polygons"
_IGNORED: Final = frozenset(
    {
        "unlabeled",
        "ego vehicle",
        "rectification border",
        "out of roi",
        "static",
        "dynamic",
        "ground",
        "parking",
        "rail track",
        "guard rail",
        "bridge",
        "tunnel",
        "polegroup",
        "caravan",
        "trailer",
    }
)
"""Its names that the benchmark does not count."""


@dataclass(frozen=True, config=LOOSE)
class CityObject:
    """A region."""

    label: str
    polygon: list[tuple[float, float]]
    deleted: bool = False


@dataclass(frozen=True, config=LOOSE)
class CityFile:
    """What is used of a file."""

    imgHeight: int
    imgWidth: int
    objects: list[CityObject]


def recognize(seen: Glimpse) -> bool:
    """Recognize a file, or a folder with files, of polygons."""
    return any(map(_has_polygons, seen.some(".json")))


def _has_polygons(path: Path) -> bool:
    return has_keys(path, "imgHeight", "imgWidth", "objects")


def open_source(source: Path, options: Options) -> Source:
    """Read every file once for its names, and find their images.

    Raises:
        InputError: There are no files, or no folder of images.
    """
    files = [path for path in find_files(source, ".json") if path == source or _has_polygons(path)]
    if not files:
        raise InputError(f"{source}: no polygons of Cityscapes (*_polygons.json)")
    root = root_of(source)
    images = Images(options.images or root)
    classes = standard_set("cityscapes")[0]

    def look(path: Path) -> tuple[Path, set[str]]:
        content = read_schema(path, CityFile)
        names = {_name(one.label) for one in content.objects if not one.deleted}
        return _image_of(path, images), names

    found = read_each(files, root, images, options, look, _content)
    own = any(name in classes.names for name in found.names)
    return Source(
        found.names,
        found.items,
        problems=found.problems,
        classes=classes if own else None,
        ignored=_IGNORED,
    )


def _name(label: str) -> str:
    """Return the name of an object: of a group that of its members."""
    known = label in _IGNORED or not label.endswith("group")
    return label if known else label.removesuffix("group")


def _image_of(path: Path, images: Images) -> Path:
    """Return ``x_leftImg8bit.png`` of ``x_gtFine_polygons.json``, or an image of the bare name."""
    stem = path.stem.removesuffix(_END)
    base = stem.removesuffix("_gtFine").removesuffix("_gtCoarse")
    for name in (f"{base}_leftImg8bit", base, stem, path.stem):
        for suffix in (".png", ".jpg", ".jpeg"):
            if images.has(f"{name}{suffix}"):
                return images.find(f"{name}{suffix}", path)
    raise InputError(f"{path}: no image {base}_leftImg8bit.png below {images.root}")


def _content(path: Path, size: Size, numbers: Mapping[str, int]) -> Content:
    content = read_schema(path, CityFile)
    regions = []
    left_out = Counter[str]()
    for one in content.objects:
        if one.deleted:
            left_out["a region that was deleted"] += 1
            continue
        points = np.array(one.polygon, np.float64).reshape(-1, 2)
        regions.append(Region(numbers[_name(one.label)], Outline(points, edge=False)))
    return Content((content.imgHeight, content.imgWidth), tuple(regions), left_out=left_out)


FORMAT: Final = SourceFormat(
    name="cityscapes",
    title="Cityscapes polygons",
    files="`*_polygons.json`, and `*_leftImg8bit.png` by name",
    fill="Pillow",
    overlap="order",
    rest="ignore",
    notes="the 19 classes; its other names have no class, and groups count as their members",
    recognize=recognize,
    open=open_source,
)
