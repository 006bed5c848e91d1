"""Pairs: which mask belongs to which image, by file name or by list.

A layout's file answers one question, ``find_pairs(config, split)``; the ways of answering that
several layouts share stand here. Nothing is opened but lists, so that a missing file is still a
pair and can be reported with all the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from topseg.core.errors import InputError
from topseg.core.files import IMAGE_SUFFIXES
from topseg.core.labels import LabelMap
from topseg.core.storage import exists, is_dir, read_bytes, walk

SUFFIXES = IMAGE_SUFFIXES | {".npy"}
_BLANKS = " \t\v\f"


@dataclass(frozen=True)
class Pair:
    """One labelled image, by its files (either may not exist)."""

    image: Path
    mask: Path
    name: str
    """What to call it: the image's path relative to the data set's root."""


@dataclass(frozen=True)
class Pairs:
    """A split, as the file system or the lists have it."""

    pairs: tuple[Pair, ...]
    orphans: tuple[Path, ...] = ()
    """Masks that belong to no image."""
    others: tuple[Path, ...] = ()
    """Files beside the images that no reader takes for an image."""
    label_map: LabelMap | None = None
    """Raw mask value -> class, where this split's files decide it; None: the layout's."""


def relative(path: Path, root: Path) -> str:
    """Return a file's name relative to the root where it lies below it."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def files_by_stem(
    folder: Path, wanted: Callable[[Path], bool] = lambda path: True
) -> dict[str, list[Path]]:
    """Find the images of a folder and its sub-folders by relative path without suffix, sorted."""
    found: dict[str, list[Path]] = {}
    for path in sorted(walk(folder, _stop)):
        if path.suffix.lower() in SUFFIXES and wanted(path):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            found.setdefault(stem, []).append(path)
    return found


def _stop(problem: str) -> None:
    """Raise for a sub-folder that cannot be read: without it the data set is another one."""
    raise InputError(f"{problem}; make it readable, or move it out of the data set")


def pair_folders(
    images: Path,
    masks: Path,
    root: Path,
    rename: Callable[[str], str] = lambda stem: stem,
    is_mask: Callable[[Path], bool] = lambda path: True,
) -> Pairs:
    """Pair the files of two folders by stem (relative path without suffix).

    Args:
        images: Folder of the images, sub-folders included.
        masks: Folder of the masks, with the same sub-folders.
        root: What names are relative to.
        rename: From an image's stem to its mask's.
        is_mask: Whether a file of the masks' folder is one. Where that folder holds the images as
            well, they are the others.

    Raises:
        InputError: A folder is missing or without images, no stem fits at all, or two masks have
            one stem.
    """
    for folder in (images, masks):
        if not is_dir(folder):
            raise InputError(f"{folder}: no such folder; is data.root right? (now {root})")
    candidates = files_by_stem(masks, is_mask)
    together = images.resolve() == masks.resolve()
    found = files_by_stem(images, lambda path: not (together and is_mask(path)))
    if not found:
        raise InputError(f"{images}: no images in this folder")
    for same in candidates.values():
        if len(same) > 1:
            raise InputError(f"{same[0]}: {same[1].name} has the same stem; keep one of the masks")
    wanted = {stem: rename(stem) for stem in found}
    if not candidates.keys() & set(wanted.values()):
        have = [f"only files such as {path.name}" for path, *_ in candidates.values()]
        image, mask = next(iter(wanted.items()))
        raise InputError(
            f"{masks}: {have[0] if have else 'no masks'}; {image} needs {mask}.png "
            "(or give 'image mask' pairs by data.layout=list)"
        )
    pairs = tuple(
        Pair(
            image,
            candidates.get(wanted[stem], [masks / f"{wanted[stem]}.png"])[0],
            relative(image, root),
        )
        for stem, same in found.items()
        for image in same
    )
    orphans = tuple(candidates[stem][0] for stem in candidates.keys() - set(wanted.values()))
    others = (path for path in walk(images, _stop) if path.suffix.lower() not in SUFFIXES)
    return Pairs(pairs, tuple(sorted(orphans)), tuple(sorted(others)))


def join(parts: Iterable[Pairs]) -> Pairs:
    """Put the parts of a split together."""
    parts = list(parts)
    return Pairs(
        tuple(pair for part in parts for pair in part.pairs),
        tuple(path for part in parts for path in part.orphans),
        tuple(path for part in parts for path in part.others),
        next((part.label_map for part in parts if part.label_map is not None), None),
    )


def read_list(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read the lines of a list file as (line number, columns).

    Columns are parted by tabs where the line has one, else by single spaces, so that joined by them
    they are the line again; empty lines and lines that begin with # are skipped. Other spaces and
    ends of lines, such as Unicode's, belong to names.

    Raises:
        InputError: The file is missing, not text, or has no lines.
    """
    if not exists(path):
        raise InputError(f"{path}: no such list file")
    text = read_bytes(path).decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise InputError(f"{path}: cannot be read as a list; expected UTF-8 text")
    empty = True
    for number, whole in enumerate(re.split(r"\r\n?|\n", text), 1):
        line = whole.strip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        empty = False
        parted = line.split("\t") if "\t" in line else line.split(" ")
        yield number, [part.strip(_BLANKS) for part in parted]
    if empty:
        raise InputError(f"{path}: the list is empty; expected an 'image mask' pair per line")


def read_pairs(path: Path, root: Path, resolve: Callable[[str], Path]) -> Pairs:
    """Read a list of 'image mask' lines.

    Raises:
        InputError: As :func:`read_list`, or a line has not two columns.
    """
    pairs = []
    for number, parts in read_list(path):
        columns = list(filter(None, parts))  # some lists are aligned
        if len(columns) != 2:
            raise InputError(
                f"{path}: line {number}: got {len(columns)} columns, expected 'image mask' "
                "(part them by a tab where names have spaces)"
            )
        image, mask = (resolve(column) for column in columns)
        pairs.append(Pair(image, mask, relative(image, root)))
    return Pairs(tuple(pairs))
