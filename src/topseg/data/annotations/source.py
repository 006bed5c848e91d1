"""Source: the labels of another tool, opened: names, images, and what each image shows.

A format's file makes one of these; names, painting, writing and counting are the same for all of
them. What an image shows is either regions, in the order of painting, or one number for each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import Color, LabelSet
from topseg.data.annotations.files import Glimpse
from topseg.data.annotations.shapes import Patch, Shape, ShapeError

IGNORED: Final = 65535
"""In place of a name's number: pixels that shall have no class."""
UNPAINTED: Final = 65534
"""In place of a name's number: pixels that nothing says anything about."""
MAX_NAMES: Final = 65000
_MOST_PATCHES: Final = 1 << 30  # bytes of one image's regions

Overlap = Literal["order", "area"]
OVERLAPS: Final[dict[Overlap, str]] = {
    "order": "the later region is above",
    "area": "the smaller region is above",
}
"""Which region has a pixel that several cover -> the rule in words."""


@dataclass(frozen=True, eq=False)
class Region:
    """One labelled region.

    Attributes:
        name: Number of its name.
        shape: What it covers.
        crowd: Whether it outlines many objects at once: its pixels have no class, and everything
            else is painted over it.
    """

    name: int
    shape: Shape
    crowd: bool = False


@dataclass(frozen=True, eq=False)
class Content:
    """What one image shows.

    Attributes:
        size: (height, width) that the labels were made for.
        regions: Its regions, in the order of painting.
        mask: (H, W) numbers of names, ``IGNORED`` or ``UNPAINTED``, in place of regions.
        left_out: What was not taken: short reason -> how many regions or pixels.
    """

    size: Size
    regions: tuple[Region, ...] = ()
    mask: NDArray[np.integer[Any]] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Item:
    """One labelled image of a source.

    Attributes:
        image: Its file.
        name: What to call it: a relative path that is new among its source's.
        split: "train", "val" or "test".
        read: From the upright image's (height, width) to what the image shows.
        files: The files that decide the labels.
    """

    image: Path
    name: str
    split: str
    read: Callable[[Size], Content]
    files: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """The labels of a data set.

    Attributes:
        names: Every name in it, by number.
        items: Its images, in a stable order.
        palette: One colour for each name; None: it has none.
        problems: (file, reason) of everything that could not be taken in.
        classes: Classes that the format itself prescribes; None: its names.
        ignored: Names that stand for "no class".
        notes: What else there is to tell before anything is written.
    """

    names: tuple[str, ...]
    items: tuple[Item, ...]
    palette: tuple[Color, ...] | None = None
    problems: tuple[tuple[str, str], ...] = ()
    classes: LabelSet | None = None
    ignored: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may set for a format.

    Attributes:
        images: Folder of the images, where they are not below the source.
        palette: File of names and colours.
        nearest: Whether a colour without a name becomes the nearest one that has.
        progress: Called with (done, total) while annotations are read.
    """

    images: Path | None = None
    palette: Path | None = None
    nearest: bool = False
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceFormat:
    """A tool's way of writing labels.

    Attributes:
        name: What ``--format`` calls it.
        title: What people call it.
        files: The files that it consists of.
        fill: By which rule polygons become pixels; empty where there are none.
        overlap: Which of several regions has a pixel.
        rest: What pixels without a label are where nobody says: "background" or "ignore".
        notes: What is left out, and other rules worth knowing.
        recognize: Whether a file or folder is certainly such a source; by default none is.
        open: Read one.
    """

    name: str
    title: str
    files: str
    fill: str = ""
    overlap: Overlap | None = None
    rest: Literal["background", "ignore"] = "background"
    notes: str = ""
    recognize: Callable[[Glimpse], bool] = lambda seen: False
    open: Callable[[Path, Options], Source]


def paint(
    content: Content, table: NDArray[np.int64], rest: int, overlap: Overlap | None
) -> tuple[NDArray[np.uint16], list[str]]:
    """Make the mask of one image.

    Args:
        content: What it shows.
        table: (65536,) number of a name -> value in the mask, ``UNPAINTED`` for names left out.
        rest: Value of pixels that nothing covers.
        overlap: Which of several regions has a pixel.

    Returns:
        (H, W) values, and one reason for each region that could not be painted.

    Raises:
        InputError: The regions of this image need more than a gigabyte.
    """
    if content.mask is not None:
        values = table[content.mask]
        return np.where(values == UNPAINTED, rest, values).astype(np.uint16), []
    left_out = []
    patches: list[tuple[bool, int, Patch, int]] = []
    taken = 0
    for region in content.regions:
        value = int(table[region.name])
        if value == UNPAINTED:
            continue
        try:
            patch = region.shape.cover(content.size)
        except ShapeError as error:
            left_out.append(str(error))
            continue
        if not patch.area:
            left_out.append("a region without a pixel")
            continue
        taken += patch.bits.nbytes
        if taken > _MOST_PATCHES:
            raise InputError("its regions need more than a gigabyte; divide the image")
        height = -patch.area if overlap == "area" else 0
        if region.crowd:
            value = int(table[IGNORED])
        patches.append((not region.crowd, height, patch, value))
    canvas = np.full(content.size, rest, np.uint16)
    for _, _, patch, value in sorted(patches, key=lambda one: one[:2]):
        patch.fill(canvas, value)
    return canvas, left_out
