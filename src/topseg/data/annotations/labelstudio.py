"""Label Studio: its JSON of tasks, with polygons in percent and brush strokes in run lengths.

Source: https://labelstud.io/guide/export. Of several people's answers to one task the first that
was not cancelled counts.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.errors import InputError
from topseg.core.files import IMAGE_SUFFIXES
from topseg.core.geometry import Size
from topseg.data.annotations.files import (
    LOOSE,
    Glimpse,
    Images,
    find_files,
    has_keys,
    read_schema,
    root_of,
    split_of,
)
from topseg.data.annotations.listing import Listing
from topseg.data.annotations.shapes import Bitmap, Late, Polygons, Shape, ShapeError, crop
from topseg.data.annotations.source import Content, Options, Region, Source, SourceFormat

_PREFIX: Final = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


@dataclass(frozen=True, config=LOOSE)
class StudioResult:
    """A region, or something else that was answered."""

    type: str = ""
    value: dict[str, Any] = Field(default_factory=dict)
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: float | None = None

    @property
    def label(self) -> str | None:
        """Its name; None: it has none."""
        names = self.value.get(self.type) if self.type.endswith("labels") else None
        named = isinstance(names, list) and names and isinstance(names[0], str)
        return names[0] if named else None  # type: ignore[index]


@dataclass(frozen=True, config=LOOSE)
class StudioAnnotation:
    """One person's answer."""

    result: list[StudioResult] = Field(default_factory=list)
    was_cancelled: bool = False


@dataclass(frozen=True, config=LOOSE)
class StudioTask:
    """A task."""

    data: dict[str, Any]
    annotations: list[StudioAnnotation]
    file_upload: str | None = None


def recognize(seen: Glimpse) -> bool:
    """Recognize a file, or a folder with files, of tasks."""
    return any(map(_has_tasks, seen.some(".json")))


def _has_tasks(path: Path) -> bool:
    return has_keys(path, "data", "annotations", "result")


def open_source(source: Path, options: Options) -> Source:
    """Read the files and find their images.

    Raises:
        InputError: There are none, or one is not as it should be.
    """
    paths = [path for path in find_files(source, ".json") if path == source or _has_tasks(path)]
    if not paths:
        raise InputError(f"{source}: no tasks of Label Studio; export as 'JSON', not 'JSON-MIN'")
    root = root_of(source)
    listing = Listing(Images(options.images or root))
    tasks = [(path, task) for path in paths for task in read_schema(path, list[StudioTask])]
    labels = {one.label for _, task in tasks for one in _answer(task)[0]}
    numbers = {name: number for number, name in enumerate(sorted(labels - {None}, key=str))}
    for path, task in tasks:
        given = _image_name(task)
        if all(one.was_cancelled for one in task.annotations):
            listing.problems.append((f"{path}: {given}", "a task without an answer"))
            continue
        image = listing.find(_file_name(given, listing.images), path)
        if image is None:
            continue

        def read_content(size: Size, task: StudioTask = task) -> Content:
            return _content(task, size, numbers)

        listing.add(image, split_of(image, listing.images.root), read_content, path)
    names = tuple(str(name) for name in numbers)
    return Source(names, listing.items, problems=tuple(listing.problems))


def _answer(task: StudioTask) -> tuple[list[StudioResult], int]:
    """Return the regions of the answer that counts, and how many other answers there are."""
    given = [one for one in task.annotations if not one.was_cancelled]
    return (given[0].result if given else []), max(0, len(given) - 1)


def _image_name(task: StudioTask) -> str:
    """Return the address of a task's image."""
    for value in task.data.values():
        if isinstance(value, str) and Path(_path(value)).suffix.lower() in IMAGE_SUFFIXES:
            return _path(value)
    return task.file_upload or ""


def _path(address: str) -> str:
    """Return the path in an address: of local files what stands behind ``?d=``."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def _file_name(name: str, images: Images) -> str:
    """Return the name to find an image by: its path, or its name without an upload's prefix."""
    last = name.rpartition("/")[2]
    bare = _PREFIX.sub("", last, count=1)
    if not images.has(last) and images.has(bare):
        return bare
    return last if name.startswith("/") else name


def _content(task: StudioTask, size: Size, numbers: dict[str | None, int]) -> Content:
    results, others = _answer(task)
    regions: list[Region] = []
    left_out = Counter[str]()
    if others:
        left_out["other people's answers"] += others
    made_for = size
    for one in results:
        if one.label is None:
            continue
        made_for = one.original_height or size[0], one.original_width or size[1]
        if made_for not in (size, size[::-1]):
            break
        try:
            regions.append(Region(numbers[one.label], _shape(one, made_for)))
        except ShapeError as error:
            left_out[str(error)] += 1
    return Content(made_for, tuple(regions), left_out=left_out)


def _shape(one: StudioResult, size: Size) -> Shape:
    """Return what a region covers.

    Raises:
        ShapeError: It has no outline, or is not well formed.
    """
    if one.image_rotation:
        raise ShapeError("a region of an image that was turned in the tool")
    if one.type == "polygonlabels":
        try:
            points = np.array(one.value.get("points"), np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            raise ShapeError("a polygon whose points cannot be read") from None
        return Polygons((points / 100 * [size[1], size[0]],))
    if one.type == "brushlabels":
        return Late(functools.partial(_stroke, one.value.get("rle")))
    raise ShapeError(f"a region of type {one.type[:20]}, which has no outline")


def _stroke(values: Any, size: Size) -> Bitmap:
    """Read a stroke of red, green, blue and alpha, of which alpha counts."""
    pixels = decode_brush(values, 4 * size[0] * size[1])
    patch = crop(pixels.reshape(*size, 4)[..., 3] > 0)
    return Bitmap(patch.bits, patch.top, patch.left)


def decode_brush(values: Any, count: int) -> NDArray[np.uint8]:
    """Read the run lengths of a brush stroke.

    A stream of bits, high ones first: how many values there are (32), their bits less one (5), four
    times the bits of a length less one (4); then runs: whether one value is repeated (1), which of
    the four lengths is used (2), the length less one, and the value, or the values one by one.
    Source: https://github.com/thi-ng/umbrella, package rle-pack.

    Args:
        values: Bytes, as a list of numbers.
        count: How many values there must be.

    Raises:
        ShapeError: It is no such stream, or of another length.
    """
    try:
        data = bytes(values) if isinstance(values, list) else b""
    except (TypeError, ValueError):
        raise ShapeError("a brush stroke that cannot be read") from None
    if not data:
        raise ShapeError("a brush stroke that cannot be read")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    total, at = len(bits), 0

    def take(width: int) -> int:
        nonlocal at
        if at + width > total:
            raise ShapeError("a brush stroke that is cut off")
        first, last = at >> 3, (at + width + 7) >> 3
        at += width
        word = int.from_bytes(data[first:last], "big")
        return word >> (8 * last - at) & ((1 << width) - 1)

    if take(32) != count:
        raise ShapeError("a brush stroke for another size than the image's")
    width = take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    if width != 8:
        raise ShapeError("a brush stroke that is not of bytes")
    out = np.zeros(count, np.uint8)
    done = 0
    while done < count:
        repeated = take(1)
        run = take(lengths[take(2)]) + 1
        if done + run > count:
            raise ShapeError("a brush stroke that is too long")
        if repeated:
            out[done : done + run] = take(8)
        else:
            if at + 8 * run > total:
                raise ShapeError("a brush stroke that is cut off")
            out[done : done + run] = np.packbits(bits[at : at + 8 * run])
            at += 8 * run
        done += run
    return out


FORMAT: Final = SourceFormat(
    name="labelstudio",
    title="Label Studio",
    files="the export `JSON` (not `JSON-MIN`), and the images by name, with or without the prefix "
    "of an upload",
    fill="COCO",
    overlap="order",
    notes="of several answers the first that was not cancelled; boxes, ellipses and points are "
    "left out",
    recognize=recognize,
    open=open_source,
)
