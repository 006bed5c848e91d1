"""CVAT for images 1.1: one XML file, with polygons, masks and ellipses.

Source: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat. The file is read as a stream,
and one with a document type is refused, for entities could make it grow without end.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError, shorten
from topseg.core.files import check_regular
from topseg.core.geometry import Size
from topseg.core.labels import Color, default_palette
from topseg.data.annotations.colors import parse_hex
from topseg.data.annotations.files import Glimpse, Images, find_files, root_of, split_of
from topseg.data.annotations.listing import Listing
from topseg.data.annotations.shapes import Bitmap, Late, Polygons, Shape, ShapeError
from topseg.data.annotations.source import Content, Options, Region, Source, SourceFormat

_SHAPES: Final = frozenset(
    {"polygon", "mask", "ellipse", "box", "polyline", "points", "cuboid", "skeleton"}
)
_CORNERS: Final = 180  # of an ellipse
Attributes = dict[str, str]


@dataclass(frozen=True)
class CvatShape:
    """A region, as it is written."""

    kind: str
    label: str
    attributes: Attributes


@dataclass
class CvatImage:
    """An image, as it is written."""

    attributes: Attributes
    shapes: list[CvatShape] = field(default_factory=list)


@dataclass
class CvatFile:
    """What is used of a file."""

    path: Path
    names: dict[str, Color | None] = field(default_factory=dict)
    images: list[CvatImage] = field(default_factory=list)
    tracks: int = 0


def recognize(seen: Glimpse) -> bool:
    """Recognize a file, or a folder with one, of CVAT's annotations."""
    return any(_is_cvat(path) for path in seen.some(".xml"))


def _is_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return False
    return b"<annotations>" in head and (b"<image " in head or b"<meta>" in head)


def open_source(source: Path, options: Options) -> Source:
    """Read the files and find their images.

    Raises:
        InputError: There are none, or one is not as it should be.
    """
    paths = [path for path in find_files(source, ".xml") if path == source or _is_cvat(path)]
    if not paths:
        raise InputError(f"{source}: no file of CVAT for images 1.1 (annotations.xml)")
    root = root_of(source)
    listing = Listing(Images(options.images or root))
    files = [read_file(path) for path in paths]
    colors: dict[str, Color | None] = {}
    for file in files:
        colors |= {name: color for name, color in file.names.items() if not colors.get(name)}
    numbers = {name: number for number, name in enumerate(colors)}
    for file in files:
        if file.tracks:
            reason = f"{file.tracks} tracks of a video; export it as 'CVAT for images 1.1'"
            listing.problems.append((str(file.path), reason))
        for one in file.images:
            image = listing.find(one.attributes.get("name", ""), file.path)
            if image is None:
                continue

            def read_content(size: Size, file: CvatFile = file, one: CvatImage = one) -> Content:
                return _content(file, one, size, numbers)

            split = one.attributes.get("subset") or split_of(image, listing.images.root)
            listing.add(image, split_of(Path(split), root), read_content, file.path)
    free = iter(default_palette(len(colors) + 256))
    taken = set(colors.values())
    palette = [color or next(c for c in free if c not in taken) for color in colors.values()]
    return Source(
        tuple(numbers),
        listing.items,
        palette=tuple(palette) if len(set(palette)) == len(palette) else None,
        problems=tuple(listing.problems),
    )


def read_file(path: Path) -> CvatFile:
    """Read a file.

    Raises:
        InputError: It is no XML, has a document type, or is no such file.
    """
    check_regular(path)
    found = CvatFile(path)
    parser = expat.ParserCreate()
    stack: list[str] = []
    text: list[str] = []

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: has a document type, which CVAT does not write; remove it")

    def start(tag: str, attributes: Attributes) -> None:
        if not stack and tag != "annotations":
            raise InputError(f"{path}: got <{shorten(tag, 40)}>, expected <annotations> of CVAT")
        stack.append(tag)
        text.clear()
        if tag == "image":
            found.images.append(CvatImage(attributes))
        elif tag == "track":
            found.tracks += 1
        elif tag in _SHAPES and stack[-2] == "image":
            label = attributes.get("label", "")
            found.names.setdefault(label, None)
            found.images[-1].shapes.append(CvatShape(tag, label, attributes))

    def end(tag: str) -> None:
        stack.pop()
        if stack[-2:] == ["labels", "label"] and tag in ("name", "color"):
            value = "".join(text).strip()
            if tag == "name":
                found.names.setdefault(value, None)
            elif found.names and (color := parse_hex(value)):
                found.names[next(reversed(found.names))] = color

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except InputError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # also of unknown encodings
        raise InputError(f"{path}: not readable as XML ({error}); export it again") from None
    return found


def _content(file: CvatFile, one: CvatImage, size: Size, numbers: dict[str, int]) -> Content:
    regions: list[Region] = []
    left_out = Counter[str]()
    where = f"{file.path}: {one.attributes.get('name')}"
    for shape in sorted(one.shapes, key=lambda shape: _number(shape.attributes, "z_order", 0)):
        try:
            regions.append(Region(numbers[shape.label], _shape(shape)))
        except ShapeError as error:
            left_out[str(error)] += 1
    try:
        height = int(one.attributes.get("height", size[0]))
        width = int(one.attributes.get("width", size[1]))
    except ValueError:
        raise InputError(f"{where}: width and height are no whole numbers") from None
    return Content((height, width), tuple(regions), left_out=left_out)


def _shape(shape: CvatShape) -> Shape:
    """Return what a region covers.

    Raises:
        ShapeError: It has no area, or is not well formed.
    """
    given = shape.attributes
    if shape.kind == "polygon":
        pairs = [pair.split(",") for pair in given.get("points", "").split(";")]
        try:
            ring = np.array(pairs, np.float64).reshape(-1, 2)
        except ValueError:
            raise ShapeError("a polygon whose points cannot be read") from None
        return Polygons((ring,))
    if shape.kind == "ellipse":
        return Polygons((_ellipse(given),))
    if shape.kind == "mask":
        return Late(functools.partial(_mask, given))
    raise ShapeError(f"a {shape.kind}, which has no outline")


def _ellipse(given: Attributes) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    x, y = _number(given, "rx") * np.cos(angle), _number(given, "ry") * np.sin(angle)
    turn = np.deg2rad(_number(given, "rotation", 0))
    columns = _number(given, "cx") + x * np.cos(turn) - y * np.sin(turn)
    rows = _number(given, "cy") + x * np.sin(turn) + y * np.cos(turn)
    return np.stack([columns, rows], axis=1)


def _mask(given: Attributes, size: Size) -> Bitmap:
    """Read runs of outside and inside by turns, along the rows of a window."""
    width, height = (int(_number(given, key)) for key in ("width", "height"))
    try:
        counts = np.array([int(run) for run in given.get("rle", "").split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ShapeError("a mask whose runs cannot be read") from None
    area = width * height
    if not (0 < height <= size[0] and 0 < width <= size[1]):
        raise ShapeError("a mask larger than its image")
    if (counts < 0).any() or (counts > area).any() or counts.sum() != area:
        raise ShapeError("run lengths that do not fill their mask")
    bits = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return Bitmap(bits, int(_number(given, "top")), int(_number(given, "left")))


def _number(given: Attributes, key: str, default: float | None = None) -> float:
    try:
        number = float(given[key]) if default is None else float(given.get(key, default))
    except (KeyError, ValueError):
        raise ShapeError(f"a region without a number for {key}") from None
    if not abs(number) < 1 << 24:
        raise ShapeError("an outline far outside of its image")
    return number


FORMAT: Final = SourceFormat(
    name="cvat",
    title="CVAT for images 1.1",
    files="`annotations.xml`, and `images/` by name",
    fill="COCO",
    overlap="order",
    notes="by `z_order`, then as in the file; boxes, lines and points are left out",
    recognize=recognize,
    open=open_source,
)
