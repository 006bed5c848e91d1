"""COCO: one JSON file for each split, with polygons, or with run lengths plain and compressed.

Source: https://cocodataset.org/#format-data. A crowd region outlines many objects at once and much
between them, so its pixels have no class unless an object is painted over it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.errors import InputError
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
from topseg.data.annotations.rle import RunLengths, decode_counts
from topseg.data.annotations.shapes import Polygons, Shape, ShapeError
from topseg.data.annotations.source import Content, Options, Region, Source, SourceFormat


@dataclass(frozen=True, config=LOOSE)
class CocoImage:
    """An image."""

    id: str
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, config=LOOSE)
class CocoCategory:
    """A name."""

    id: int
    name: str


@dataclass(frozen=True, config=LOOSE)
class CocoRuns:
    """A mask as runs."""

    size: tuple[int, int]
    counts: str | list[Annotated[int, Field(ge=0, le=1 << 40)]]


@dataclass(frozen=True, config=LOOSE)
class CocoAnnotation:
    """A region."""

    image_id: str
    category_id: int
    segmentation: CocoRuns | list[list[float]] | list[float] | None = None
    iscrowd: int = 0


@dataclass(frozen=True, config=LOOSE)
class CocoFile:
    """What is used of a file."""

    images: list[CocoImage]
    categories: list[CocoCategory]
    annotations: list[CocoAnnotation]


def recognize(seen: Glimpse) -> bool:
    """Recognize a file, or a folder with files, of objects."""
    return any(map(_has_objects, seen.some(".json")))


def _has_objects(path: Path) -> bool:
    """Return whether a file is of objects, and not of captions, keypoints or panoptic segments."""
    return (
        has_keys(path, "images", "categories", "segmentation")
        and not has_keys(path, "segments_info")
        and not has_keys(path, "keypoints", "num_keypoints")
    )


def open_source(source: Path, options: Options) -> Source:
    """Read the files and find their images.

    Raises:
        InputError: A file is not as it should be, or two give one category two names.
    """
    root = root_of(source)
    files = [path for path in find_files(source, ".json") if path == source or _has_objects(path)]
    if not files:
        raise InputError(f"{source}: no COCO file (.json with images, annotations, categories)")
    listing = Listing(Images(options.images or root))
    read = [(path, read_schema(path, CocoFile)) for path in files]
    names = category_names([(path, content.categories) for path, content in read])
    numbers = {name: number for number, name in enumerate(names.values())}
    by_id = {id: numbers[name] for id, name in names.items()}
    for path, content in read:
        regions = defaultdict(list)
        for annotation in content.annotations:
            regions[annotation.image_id].append(annotation)
        for image in content.images:
            found = regions.pop(image.id, [])
            file = listing.find(image.file_name, path)
            if file is None:
                continue

            def read_content(
                size: Size, image: CocoImage = image, found: list[CocoAnnotation] = found
            ) -> Content:
                return _content(image, found, by_id)

            listing.add(file, split_of(path, root), read_content, path)
        lost = sum(map(len, regions.values()))
        if lost:
            listing.problems.append((str(path), f"{lost} regions of images that it does not list"))
    return Source(tuple(numbers), listing.items, problems=tuple(listing.problems))


def category_names(files: list[tuple[Path, list[CocoCategory]]]) -> dict[int, str]:
    """Return the name of each category of some files, in the order of their numbers.

    Raises:
        InputError: Two files name one category differently, or there are none.
    """
    names: dict[int, str] = {}
    for path, categories in files:
        for category in categories:
            known = names.setdefault(category.id, category.name)
            if known != category.name:
                raise InputError(
                    f"{path}: category {category.id} is '{category.name}', and '{known}' in "
                    "another file; convert them one by one"
                )
    if not names:
        raise InputError(f"{files[0][0]}: categories: got none, expected names of classes")
    return dict(sorted(names.items()))


def _content(image: CocoImage, found: list[CocoAnnotation], by_id: dict[int, int]) -> Content:
    regions: list[Region] = []
    left_out = Counter[str]()
    for annotation in found:
        number = by_id.get(annotation.category_id)
        if number is None:
            left_out["a region of a category that is not listed"] += 1
            continue
        try:
            shape = _shape(annotation)
        except ShapeError as error:
            left_out[str(error)] += 1
            continue
        regions.append(Region(number, shape, crowd=annotation.iscrowd == 1))
    return Content((image.height, image.width), tuple(regions), left_out=left_out)


def _shape(annotation: CocoAnnotation) -> Shape:
    """Return what a region covers.

    Raises:
        ShapeError: It is a box alone, or its outline cannot be used.
    """
    segmentation = annotation.segmentation
    if isinstance(segmentation, CocoRuns):
        counts = segmentation.counts
        runs = decode_counts(counts) if isinstance(counts, str) else np.array(counts, np.int64)
        return RunLengths(runs, segmentation.size)
    if not segmentation:
        raise ShapeError("a region without an outline")
    rings = [ring for ring in segmentation if isinstance(ring, list)]
    rings = rings or [[float(value) for value in segmentation if isinstance(value, float)]]
    if any(len(ring) % 2 or len(ring) < 6 for ring in rings):
        raise ShapeError("an outline of fewer than 3 points")
    return Polygons(tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in rings))


FORMAT: Final = SourceFormat(
    name="coco",
    title="COCO",
    files="`*.json` with `images`, `annotations`, `categories`; one a split, or one",
    fill="COCO",
    overlap="area",
    notes="crowd regions have no class where no object is; several rings are joined; boxes and "
    "keypoints are left out",
    recognize=recognize,
    open=open_source,
)
