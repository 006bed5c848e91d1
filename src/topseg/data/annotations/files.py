"""Files of a source: annotation files by their schema, and the images that they name.

A schema is a pydantic dataclass with the keys that are used; every other key is passed over
unread, so that a file of hundreds of megabytes (LabelMe's pictures inside it, for one) costs little
memory. No name in an annotation leads out of the folder that the user gave.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from topseg.core.errors import InputError, shorten
from topseg.core.files import IMAGE_SUFFIXES, check_regular, walk

LOOSE: Final = ConfigDict(extra="ignore", allow_inf_nan=False, coerce_numbers_to_str=True)
"""Of a schema's dataclass."""
MAX_BYTES: Final = 2 << 30
_HEAD: Final = 1 << 20
_TAIL: Final = 1 << 18
_SOME: Final = 20
_SPLIT: Final = re.compile(r"(?<![a-z])(train|training|val|valid|validation|test)(?![a-z])")
_SPLITS: Final = {"training": "train", "valid": "val", "validation": "val"}
T = TypeVar("T")


def read_schema(path: Path, schema: type[T]) -> T:
    """Read a JSON file by its schema.

    Raises:
        InputError: Not readable, too large, not JSON, or a key is missing or of another type.
    """
    check_regular(path)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 30} GiB; export it in parts")
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        return TypeAdapter(schema).validate_json(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValidationError as error:
        raise InputError(_explain(path, error)) from None


def _explain(path: Path, error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first = max(problems, key=lambda problem: len(problem["loc"]))  # of a union the nearest
    if first["type"] == "json_invalid":
        return f"{path}: not readable as JSON ({first['ctx']['error']}); export it again"
    parts = map(str, first["loc"])  # without the names of types
    place = ".".join(part for part in parts if not re.match(r"[A-Z]|.*\[", part)) or "the file"
    what = first["msg"].removeprefix("Input should be ").removeprefix("Input ")
    got = "nothing" if first["type"] == "missing" else shorten(first["input"], 60)
    wanted = "a value" if first["type"] == "missing" else what[:1].lower() + what[1:]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {place}: got {got}, expected {wanted}{more}; export the labels again"


def has_keys(path: Path, *keys: str) -> bool:
    """Return whether a JSON file's beginning or end has all of some keys, without parsing it."""
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD)
            file.seek(max(len(text), path.stat().st_size - _TAIL))
            text += file.read(_TAIL)
    except OSError:
        return False
    return all(f'"{key}"'.encode() in text for key in keys)


def find_files(source: Path, suffix: str) -> list[Path]:
    """Find the annotation files of a source: itself, or those below it, sorted.

    Raises:
        InputError: A sub-folder cannot be read.
    """
    if not source.is_dir():
        return [source] if source.suffix.lower() == suffix else []
    return sorted(path for path in walk_all(source) if path.suffix.lower() == suffix)


@dataclass(frozen=True)
class Glimpse:
    """A source as far as it takes to recognize it.

    Attributes:
        source: The file or folder.
        files: Suffix -> the first files that have it, itself or below it.
    """

    source: Path
    files: Mapping[str, list[Path]]

    def some(self, suffix: str) -> list[Path]:
        """Return some files with a suffix."""
        return self.files.get(suffix, [])


def glimpse(source: Path) -> Glimpse:
    """Look over a source once.

    Raises:
        InputError: A sub-folder cannot be read.
    """
    files: dict[str, list[Path]] = {}
    for path in walk_all(source) if source.is_dir() else [source]:
        some = files.setdefault(path.suffix.lower(), [])
        if len(some) < _SOME:
            some.append(path)
    return Glimpse(source, files)


def walk_all(folder: Path) -> Iterator[Path]:
    """Find the files below a folder.

    Raises:
        InputError: A sub-folder cannot be read.
    """

    def stop(problem: str) -> None:
        raise InputError(f"{problem}; make it readable, or move it away")

    return walk(folder, stop)


def root_of(source: Path) -> Path:
    """Return the folder that a source's images are looked for in.

    A file's is its own folder, or the one above where that is called ``annotations`` or the like.
    """
    if source.is_dir():
        return source
    folder = source.resolve().parent
    return folder.parent if folder.name.lower() in ("annotations", "labels", "json") else folder


def split_of(path: Path, root: Path) -> str:
    """Return the split in a file's name, or in that of a folder around it; else "train"."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else (path.name,)
    for part in reversed(parts):
        if found := _SPLIT.search(part.lower()):
            return _SPLITS.get(found[0], found[0])
    return "train"


class Images:
    """The images of a source, by the names that its annotations use.

    Attributes:
        root: The folder that they are below.
    """

    def __init__(self, root: Path) -> None:
        """Find them.

        Raises:
            InputError: There is no such folder, or a part of it cannot be read.
        """
        if not root.is_dir():
            raise InputError(f"{root}: no such folder of images; name it by --images")
        self.root = root
        self._by_name: dict[str, list[Path]] = {}
        for path in sorted(walk_all(root)):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self._by_name.setdefault(path.name, []).append(path)

    def name(self, image: Path) -> str:
        """Return an image's path relative to the root."""
        return image.relative_to(self.root).as_posix()

    def has(self, name: str) -> bool:
        """Return whether there are images of a file's name."""
        return name in self._by_name

    def find(self, name: str, near: Path) -> Path:
        """Find an image.

        Args:
            name: As an annotation has it: a file's name, a path relative to the root, to a folder
                in it, or to the annotation; or a path or an address on some other machine, of
                which the end counts.
            near: The file that has the annotation; of several images those beside it, then those
                in a folder of its name or its split come first.

        Raises:
            InputError: No such image, several that it might be, or a name that leads out.
        """
        clean = PurePosixPath(name.replace("\\", "/"))
        foreign = clean.is_absolute() or bool(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", name))
        if ".." in clean.parts:
            place = Path(os.path.normpath(near.parent / clean))
            if not foreign and place.is_relative_to(self.root) and place.is_file():
                return place
            raise InputError(f"image {shorten(name)} leads out of {self.root}")
        candidates = self._by_name.get(clean.name, [])
        ends = {path: _common_end(path.parts, clean.parts) for path in candidates}
        least = 1 if foreign else len([part for part in clean.parts if part != "."])
        most = max([least, *ends.values()]) if foreign else least
        found = [path for path, end in ends.items() if end >= most]
        if not found:
            raise InputError(f"no image {shorten(name)} below {self.root}")
        if len(found) > 1:
            found = _nearest(found, near, self.root) or found
        if len(found) > 1:
            places = " and ".join(self.name(path) for path in found[:2])
            raise InputError(f"image {shorten(name)} may be {places}; give --images")
        return found[0]


def _common_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _nearest(found: list[Path], near: Path, root: Path) -> list[Path]:
    """Return those beside a file, else those in a folder that its name speaks of."""
    beside = [path for path in found if path.parent == near.parent]
    named = [path for path in found if path.parent.name and path.parent.name in near.stem]
    same = [path for path in found if split_of(path.parent, root) == split_of(near, root)]
    return next((some for some in (beside, named, same) if some), [])
