"""YOLO segmentation: a text file for each image, one polygon a line, in shares of the image.

Source: https://docs.ultralytics.com/datasets/segment. A line is the class's number and x, y of each
corner; an image without a file shows nothing. The numbers' names stand in ``data.yaml``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from topseg.core.config import read_yaml
from topseg.core.errors import InputError, shorten
from topseg.core.files import check_regular
from topseg.core.geometry import Size
from topseg.data.annotations.files import Glimpse, split_of
from topseg.data.annotations.masked import match_files
from topseg.data.annotations.shapes import Filled, ShapeError
from topseg.data.annotations.source import (
    MAX_NAMES,
    Content,
    Item,
    Options,
    Region,
    Source,
    SourceFormat,
)

_MOST: Final = 256 << 20  # bytes of a text file


def recognize(seen: Glimpse) -> bool:
    """Recognize a folder with names in YAML and text files below ``labels``."""
    if not seen.source.is_dir() or not any(_names_in(path) for path in _yamls(seen.source)):
        return False
    return any("labels" in path.parts for path in seen.some(".txt"))


def open_source(source: Path, options: Options) -> Source:
    """Find the images and their text files.

    Raises:
        InputError: There are no names, or no images.
    """
    names = _names(source)
    found = match_files(source, options.images, {".txt"})
    root = options.images or source
    numbers = dict(enumerate(names))

    def item(image: Path, file: Path | None) -> Item:
        def read_content(size: Size) -> Content:
            return _content(file, size, numbers) if file else Content(size)

        files = (file,) if file else ()
        name = image.relative_to(root).as_posix()
        return Item(image, name, split_of(image, root), read_content, files)

    pairs = [*found.pairs, *((image, None) for image in found.images)]
    items = tuple(item(image, file) for image, file in sorted(pairs, key=lambda pair: pair[0]))
    lost = tuple(
        (str(path), "a file of labels without an image")
        for path in found.masks
        if path.parent != source
    )
    notes = (f"images without a text file, which show nothing: {len(found.images)}",)
    return Source(names, items, problems=lost, notes=notes if found.images else ())


def _yamls(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.suffix in (".yaml", ".yml"))


def _names_in(path: Path) -> Any:
    try:
        return read_yaml(path).get("names")
    except InputError:
        return None


def _names(source: Path) -> tuple[str, ...]:
    """Read the names, from ``data.yaml`` or ``classes.txt``.

    Raises:
        InputError: There are none.
    """
    folder = source if source.is_dir() else source.parent
    for path in _yamls(folder):
        names = _names_in(path)
        if isinstance(names, dict) and names and all(isinstance(key, int) for key in names):
            last = max(names)
            if min(names) < 0 or last >= MAX_NAMES:
                raise InputError(f"{path}: names: got number {last}, expected 0 to {MAX_NAMES - 1}")
            names = [names.get(number, f"class {number}") for number in range(last + 1)]
        if isinstance(names, list) and names:
            return tuple(map(str, names))
    file = folder / "classes.txt"
    if file.is_file():
        lines = file.read_text("utf-8-sig", errors="replace").splitlines()
        if names := tuple(line.strip() for line in lines if line.strip()):
            return names
    raise InputError(f"{source}: no names; expected data.yaml with 'names:', or classes.txt")


def _content(file: Path, size: Size, numbers: dict[int, str]) -> Content:
    check_regular(file)
    if file.stat().st_size > _MOST:
        raise InputError(f"{file}: larger than {_MOST >> 20} MiB")
    regions: list[Region] = []
    left_out = Counter[str]()
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text ({error})") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            name, corners = int(words[0]), np.array(words[1:], np.float64)
        except ValueError:
            raise InputError(
                f"{file}: line {number}: got {shorten(line, 60)}, expected a class's number and "
                "x, y of each corner"
            ) from None
        if name not in numbers:
            raise InputError(
                f"{file}: line {number}: got class {name}, expected 0 to {len(numbers) - 1}"
            )
        try:
            regions.append(Region(name, _shape(corners, size)))
        except ShapeError as error:
            left_out[str(error)] += 1
    return Content(size, tuple(regions), left_out=left_out)


def _shape(corners: Any, size: Size) -> Filled:
    if len(corners) == 4:
        raise ShapeError("a box, which has no outline")
    if len(corners) % 2:
        raise ShapeError("an outline with a number too many")
    return Filled(corners.reshape(-1, 2) * [size[1], size[0]])


FORMAT: Final = SourceFormat(
    name="yolo",
    title="YOLO segmentation",
    files="`images/`, `labels/` with a `.txt` for each image, and names in `data.yaml`",
    fill="OpenCV",
    overlap="area",
    notes="an image without a text file shows nothing; boxes are left out",
    recognize=recognize,
    open=open_source,
)
