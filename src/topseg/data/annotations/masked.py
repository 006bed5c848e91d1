"""Masked images: sources that keep a mask file for each image, and how such masks are read.

An image and its mask have the same stem, but for an ending such as ``_mask``, in folders of the
same name, but for words such as ``images`` and ``labels``; where there are one image and one mask
of a stem, their folders do not matter.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet
from topseg.data.annotations.files import split_of, walk_all
from topseg.data.annotations.source import Content, Item
from topseg.data.layouts.pairs import SUFFIXES
from topseg.data.masks import MaskReader

_MASKS: Final = (
    r"masks?|labels?|annotations?|annots?|gt|ground[_-]?truth|segmentation(?:class)?|seg|targets?"
)
_IMAGES: Final = r"images?|imgs?|jpegimages|photos?|pictures?|rgb|frames?"
_WORD: Final = re.compile(rf"[_-]?(?<![a-z])(?:({_MASKS})|{_IMAGES})(?![a-z])[_-]?")
_ENDING: Final = re.compile(rf"[_-](?:l|color|{_MASKS})$", re.IGNORECASE)


@dataclass(frozen=True)
class Masked:
    """An image and its mask.

    Attributes:
        image: The image.
        mask: Its mask.
        name: The image's path relative to the source.
        split: "train", "val" or "test".
    """

    image: Path
    mask: Path
    name: str
    split: str


@dataclass(frozen=True)
class Matched:
    """Images and files of labels, by name.

    Attributes:
        pairs: An image and its file.
        images: Images without a file.
        masks: Files without an image.
    """

    pairs: tuple[tuple[Path, Path], ...]
    images: tuple[Path, ...]
    masks: tuple[Path, ...]


def match_files(source: Path, images: Path | None, suffixes: Iterable[str]) -> Matched:
    """Match images and files of labels by name.

    Args:
        source: Folder of both, or of the labels.
        images: Folder of the images, where it is another one.
        suffixes: Of files of labels.

    Raises:
        InputError: There are no images.
    """
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder of images and labels")
    wanted = frozenset(suffixes)
    files = image_files(source, SUFFIXES | wanted)
    masks = [path for path in files if path.suffix.lower() in wanted]
    if images is None:
        known = frozenset(files)
        masks = [path for path in masks if _is_mask(path, source, known)]
        left = set(masks)
        pictures = [path for path in files if path not in left and path.suffix.lower() in SUFFIXES]
    else:
        pictures = image_files(images)
    if not pictures:
        raise InputError(f"{images or source}: no images; name their folder by --images")
    root = images or source
    by_key: dict[tuple[str, ...], Path] = {}
    by_stem: dict[str, list[Path]] = {}
    for mask in masks:
        by_key.setdefault(_key(mask, source), mask)
        by_stem.setdefault(_key(mask, source)[-1], []).append(mask)
    stems = Counter(_key(picture, root)[-1] for picture in pictures)
    found: dict[Path, Path | None] = {}
    for image in pictures:
        key = _key(image, root)
        alone = by_stem.get(key[-1], [])
        other = alone[0] if len(alone) == stems[key[-1]] == 1 else None
        found[image] = by_key.get(key, other)
    pairs = tuple((image, mask) for image, mask in found.items() if mask is not None)
    taken = {mask for _, mask in pairs}
    return Matched(
        pairs,
        tuple(image for image, mask in found.items() if mask is None),
        tuple(mask for mask in masks if mask not in taken),
    )


def find_masked(
    source: Path, images: Path | None = None, suffixes: Iterable[str] = SUFFIXES
) -> tuple[list[Masked], list[tuple[str, str]]]:
    """Find images and their masks.

    Args:
        source: Folder of both, or of the masks.
        images: Folder of the images, where it is another one.
        suffixes: Of masks.

    Returns:
        The pairs, and (file, reason) of what belongs to nothing.

    Raises:
        InputError: There are no pairs.
    """
    found, root = match_files(source, images, suffixes), images or source
    if not found.pairs:
        raise InputError(
            f"{source}: no image and mask of one name ({len(found.images)} images, "
            f"{len(found.masks)} masks); expected folders such as images/ and masks/, or "
            "--images FOLDER"
        )
    pairs = [
        Masked(image, mask, image.relative_to(root).as_posix(), split_of(image, root))
        for image, mask in found.pairs
    ]
    problems = [(str(image), "an image without a mask") for image in found.images]
    return pairs, problems + [(str(mask), "a mask without an image") for mask in found.masks]


def mask_item(pair: Masked, read: Callable[[Path], tuple[NDArray[Any], Mapping[str, int]]]) -> Item:
    """Return the item of a pair.

    Args:
        pair: Image and mask.
        read: From the mask's file to (H, W) numbers of names, and what was left out.
    """

    def read_content(size: Size) -> Content:
        numbers, left_out = read(pair.mask)
        return Content((numbers.shape[0], numbers.shape[1]), mask=numbers, left_out=left_out)

    return Item(pair.image, pair.name, pair.split, read_content, (pair.mask,))


def image_files(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """Find the files of a folder with some suffixes, sorted.

    Raises:
        InputError: There is no such folder, or a part of it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return sorted(path for path in walk_all(folder) if path.suffix.lower() in suffixes)


def in_mask_folder(path: Path, root: Path) -> bool:
    """Return whether a folder that a file lies in is called after masks."""
    parts = path.relative_to(root).parts[:-1]
    return any((found := _WORD.search(part.lower())) and found[1] for part in parts)


def is_mask_word(name: str) -> bool:
    """Return whether a folder's name is a word for masks alone."""
    return re.fullmatch(_MASKS, name.lower()) is not None


def _is_mask(path: Path, root: Path, files: frozenset[Path]) -> bool:
    """Recognize a mask: by suffix, a word in its folders, its ending, or as a PNG beside a JPEG."""
    if path.suffix.lower() not in SUFFIXES:
        return True
    if in_mask_folder(path, root):
        return True
    bare = _ENDING.sub("", path.stem)
    if bare != path.stem:
        return any(path.with_name(f"{bare}{suffix}") in files for suffix in SUFFIXES)
    jpegs = (path.with_suffix(suffix) for suffix in (".jpg", ".jpeg", ".JPG", ".JPEG"))
    return path.suffix.lower() == ".png" and any(jpeg in files for jpeg in jpegs)


def _key(path: Path, root: Path) -> tuple[str, ...]:
    """Return what an image and its mask have in common: their folders' own names and the stem."""
    parts = (_WORD.sub("", part.lower()) for part in path.relative_to(root).parts[:-1])
    return *(part for part in parts if part), _ENDING.sub("", path.stem)


@functools.cache
def _reader(colors: bool, lossy: bool) -> MaskReader:
    return MaskReader(LabelSet(("any",), ((0, 0, 0),)), colors=colors, nearest=lossy)


def read_codes(path: Path, lossy: bool = False) -> NDArray[np.int32]:
    """Read a mask's colours, (H, W) red-green-blue codes.

    Args:
        path: The file.
        lossy: Whether a JPEG will do.

    Raises:
        InputError: It cannot be read, or holds no 8-bit colours.
    """
    return _reader(True, lossy).read_raw(path)


def read_numbers(path: Path) -> NDArray[Any]:
    """Read a mask's numbers, (H, W).

    Raises:
        InputError: It cannot be read, or holds colours.
    """
    return _reader(False, False).read_raw(path)
