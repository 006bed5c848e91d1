"""COCO panoptic: a JSON file for each split, and a picture of segment numbers for each image.

Source: https://cocodataset.org/#format-data. A segment's number is red + 256 green + 65536 blue; 0
is no segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.data.annotations.coco import CocoCategory, CocoImage, category_names
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
from topseg.data.annotations.masked import read_codes
from topseg.data.annotations.source import (
    IGNORED,
    UNPAINTED,
    Content,
    Options,
    Source,
    SourceFormat,
)
from topseg.data.masks import decode_colors


@dataclass(frozen=True, config=LOOSE)
class PanopticSegment:
    """A segment."""

    id: Annotated[int, Field(ge=0, lt=1 << 24)]
    category_id: int
    iscrowd: int = 0


@dataclass(frozen=True, config=LOOSE)
class PanopticAnnotation:
    """The segments of an image."""

    image_id: str
    file_name: str
    segments_info: list[PanopticSegment]


@dataclass(frozen=True, config=LOOSE)
class PanopticFile:
    """What is used of a file."""

    images: list[CocoImage]
    categories: list[CocoCategory]
    annotations: list[PanopticAnnotation]


def recognize(seen: Glimpse) -> bool:
    """Recognize a file, or a folder with files, of segments."""
    return any(map(_has_segments, seen.some(".json")))


def _has_segments(path: Path) -> bool:
    return has_keys(path, "images", "categories", "segments_info")


def open_source(source: Path, options: Options) -> Source:
    """Read the files, and find images and pictures of segments.

    Raises:
        InputError: A file is not as it should be, or two give one category two names.
    """
    root = root_of(source)
    files = [path for path in find_files(source, ".json") if path == source or _has_segments(path)]
    if not files:
        raise InputError(f"{source}: no panoptic file (.json with segments_info)")
    pictures = Images(root)
    listing = Listing(pictures if options.images is None else Images(options.images))
    read = [(path, read_schema(path, PanopticFile)) for path in files]
    names = category_names([(path, content.categories) for path, content in read])
    numbers = {name: number for number, name in enumerate(names.values())}
    by_id = {id: numbers[name] for id, name in names.items()}
    for path, content in read:
        file_names = {image.id: image.file_name for image in content.images}
        for annotation in content.annotations:
            try:
                if annotation.image_id not in file_names:
                    raise InputError(f"image {annotation.image_id} is not listed")
                picture = pictures.find(annotation.file_name, path)
            except InputError as error:
                listing.problems.append((f"{path}: {annotation.file_name}", str(error)))
                continue
            image = listing.find(file_names[annotation.image_id], path)
            if image is None:
                continue

            def read_content(
                size: Size, picture: Path = picture, annotation: PanopticAnnotation = annotation
            ) -> Content:
                return _content(picture, annotation.segments_info, by_id)

            listing.add(image, split_of(path, root), read_content, path, picture)
    return Source(tuple(numbers), listing.items, problems=tuple(listing.problems))


def _content(picture: Path, segments: list[PanopticSegment], by_id: Mapping[int, int]) -> Content:
    red, green, blue = np.moveaxis(decode_colors(read_codes(picture)), -1, 0)
    found, inverse = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
    table = {segment.id: _number(segment, by_id) for segment in segments} | {0: UNPAINTED}
    numbers: NDArray[np.uint16] = np.array(
        [table.get(segment, IGNORED) for segment in found.tolist()], np.uint16
    )
    unknown = np.array([segment not in table for segment in found.tolist()])
    lost = int(np.bincount(inverse.ravel(), minlength=len(found))[unknown].sum())
    left_out = {"pixels of segments that are not listed": lost} if lost else {}
    mask = numbers[inverse]
    return Content((mask.shape[0], mask.shape[1]), mask=mask, left_out=left_out)


def _number(segment: PanopticSegment, by_id: Mapping[int, int]) -> int:
    return IGNORED if segment.iscrowd else by_id.get(segment.category_id, IGNORED)


FORMAT: Final = SourceFormat(
    name="coco-panoptic",
    title="COCO panoptic",
    files="`*.json` with `segments_info`, and a folder of PNG of its name",
    rest="ignore",
    notes="crowds, and segments that are not listed, have no class",
    recognize=recognize,
    open=open_source,
)
