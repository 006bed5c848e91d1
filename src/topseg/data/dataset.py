"""Dataset: pairs of image and mask files, read one at a time.

A layout (``data/layouts/``) knows where a data set keeps its files and what its raw mask values
mean; everything after that is the same for all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from topseg.core.errors import InputError
from topseg.core.storage import exists, home, is_dir
from topseg.data.classes import mask_reader
from topseg.data.config import DataConfig
from topseg.data.errors import DataError
from topseg.data.holdout import hold_out
from topseg.data.layouts import find_layout, recognize_layout
from topseg.data.layouts.layout import Layout, Names, Split
from topseg.data.layouts.pairs import Pairs
from topseg.data.masks import MaskReader
from topseg.data.presence import read_presence
from topseg.data.remedies import without_classes
from topseg.data.sample import Sample
from topseg.media.images import read_image


class Dataset:
    """The pairs of one split.

    Attributes:
        labels: The classes.
        pairs: The files, in a stable order.
        read_mask: From a mask file to class indices.
    """

    def __init__(
        self, pairs: Pairs, read_mask: MaskReader, channels: int = 3, scale: float | None = None
    ) -> None:
        self.pairs = pairs.pairs
        self.labels = read_mask.labels
        self.read_mask = read_mask
        self._channels, self._scale = channels, scale

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one labelled image.

        Raises:
            InputError: A file cannot be used, or the two differ in size.
            IndexError: No such pair.
        """
        pair = self.pairs[index]
        image = read_image(pair.image, self._channels, self._scale)
        mask = self.read_mask(pair.mask)
        if mask.shape != image.shape[:2]:
            raise InputError(size_mismatch(pair.mask, mask.shape, pair.image, image.shape))
        return Sample(image, mask, pair.name)

    def name(self, index: int) -> str:
        """Return a pair's name without reading it."""
        return self.pairs[index].name

    def paths(self, index: int) -> tuple[Path, Path]:
        """Return a pair's image and mask file."""
        return self.pairs[index].image, self.pairs[index].mask


def open_dataset(
    config: DataConfig, split: Split, *, channels: int = 3, scale: float | None = None
) -> Dataset:
    """Find the pairs of a split; their pixels are read one at a time, when asked for.

    Args:
        config: Where and what they are.
        split: "train" or "val".
        channels: Channels of an image.
        scale: Factor from 16-bit values to 0..255, as for :func:`topseg.media.images.read_image`.

    Raises:
        InputError: No such folder or list, a file is missing, or the classes are not known.
    """
    pairs = find_pairs(config, split)
    missing = [file for p in pairs.pairs for file in (p.image, p.mask) if not exists(file)]
    if missing:
        owner = next(p for p in pairs.pairs if missing[0] in (p.image, p.mask))
        role = "mask of" if missing[0] == owner.mask else "image"
        more = f", and {len(missing) - 1} more files are missing" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]}: no such file, the {role} '{owner.name}'{more}; add or unlist them "
            "('topseg check' names all)"
        )
    try:
        reader = mask_reader(config, pairs)
    except DataError as error:  # what the masks hold may still be told
        raise without_classes(error, pairs.pairs) from None
    return Dataset(pairs, reader, channels, scale)


def find_pairs(config: DataConfig, split: Split) -> Pairs:
    """Find the pairs of a split, whether their files exist or not.

    Raises:
        InputError: No such folder or list, or nothing in it.
    """
    if isinstance(config.val, float):
        whole = _named_pairs(config, "train", config.train)
        presence = read_presence(config, whole) if config.stratify else None
        kept, held_out = hold_out(whole, config.val, config.group, presence)
        return kept if split == "train" else held_out
    if config.stratify:
        what = f"data.stratify: divides by a share, but data.val is {config.val!r}"
        raise DataError(what, "val=0.2")
    found = _named_pairs(config, split, config.train if split == "train" else config.val)
    if split == "train" and config.train is None and config.val is not None:
        # The whole folder trains but for what is named for validation.
        held: set[Path] = set()
        with contextlib.suppress(InputError):  # which is told of the val split
            held = {pair.image for pair in _named_pairs(config, "val", config.val).pairs}
        found = dataclasses.replace(
            found, pairs=tuple(pair for pair in found.pairs if pair.image not in held)
        )
        if not found.pairs:
            raise InputError("data.val: names every image; leave some to train on")
    return found


def _named_pairs(config: DataConfig, split: Split, value: str | tuple[str, ...] | None) -> Pairs:
    """Find the pairs of a split by its names in the layout."""
    layout, root = _layout(config), home(Path(config.root))
    other = recognize_layout(root)
    if value is None:
        value = layout.default_split(root, split)
    try:
        if layout.name == "folder" and other is not None and not _has_masks(root, split):
            raise InputError(f"{root}: not images/ and masks/")  # though it may look so
        names = (value,) if isinstance(value, str) else value
        if not names:
            raise InputError(f"data.{split}: got an empty list, expected a split or list files")
        return layout.find_pairs(root, tuple(map(os.path.expanduser, names)), split)
    except InputError as error:
        if other is None or other.name == layout.name:
            raise
        what = f"{error.what if isinstance(error, DataError) else error}; looks like {other.name}"
        raise DataError(what, f"layout={other.name}") from None


def _layout(config: DataConfig) -> Layout:
    """Return the layout, with the data set's own names where there are some."""
    layout = find_layout(config.layout)
    names = Names(config.images_dir, config.masks_dir, config.mask_suffix)
    if names == Names():
        return layout
    if layout.with_names is None:
        raise InputError(
            f"data.images_dir, data.masks_dir, data.mask_suffix: layout {layout.name} has fixed "
            "names; only layout folder takes others"
        )
    return layout.with_names(names)


def _has_masks(root: Path, split: Split) -> bool:
    return is_dir(root / "masks") or is_dir(root / split / "masks")


def size_mismatch(
    mask: Path, mask_size: tuple[int, ...], image: Path, image_size: tuple[int, ...]
) -> str:
    """Return the text that a mask has another size than its image."""
    (h, w), (height, width) = mask_size, image_size[:2]
    hint = "make them equal"
    if (h, w) == (width, height):
        hint = "one of them is turned: save both upright, or with the same EXIF orientation"
    return f"{mask}: got {w}x{h} pixels, expected {width}x{height} as its image {image}; {hint}"
