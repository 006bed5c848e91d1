"""Dataset: pairs of image and mask files, read one at a time.

A layout (one file each beside this one) knows where a data set keeps its files and what its raw
mask values mean; everything after that is the same for all of them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.errors import InputError, did_you_mean
from topseg.core.labels import STANDARD_SETS, LabelMap, LabelSet, default_palette, standard_set
from topseg.data.layouts.pairs import Pairs
from topseg.data.masks import MaskReader
from topseg.data.sample import Sample
from topseg.media.images import read_image

Split = Literal["train", "val"]
RawValue = Annotated[int, Field(ge=0, le=65535)]
Byte = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """The images and masks, and what the masks' numbers mean."""

    layout: Literal["folder", "list", "ade20k", "cityscapes", "voc", "camvid"] = "folder"
    """How the files are kept: 'folder' (images/ and masks/ by stem, split sub-folders optional),
    'list' (files with an 'image mask' pair a line), or a published data set's own folders."""
    root: str = "."
    """Folder of the data set."""
    train: str | tuple[str, ...] | None = None
    """Training split: the layout's split name, a sub-folder, or list files; null: the layout's."""
    val: str | tuple[str, ...] | None = None
    """Validation split, as ``train``."""
    classes: str | tuple[str, ...] | None = None
    """Class names in order, a file below the root with one name a line, or a published set:
    ade20k, camvid, cityscapes, voc; null: the layout's own, or classes.txt in the root."""
    palette: tuple[tuple[Byte, Byte, Byte], ...] | None = None
    """One [red, green, blue] a class; null: distinct colours by rule."""
    ignore_index: RawValue | None = 255
    """Raw mask value that stands for 'no class' (above 255 classes 255 means 65535 here); null:
    there is none."""
    label_map: dict[RawValue, int | Literal["ignore"]] | None = None
    """Raw mask value -> class index or 'ignore'; null: the layout's (or values as they are)."""
    masks: Literal["index", "color"] = "index"
    """Masks hold indices (grey or palette PNG), or RGB colours of the palette."""
    ignore_colors: tuple[tuple[Byte, Byte, Byte], ...] = ()
    """Colours of pixels without a class, where masks hold colours."""
    nearest_color: bool = False
    """Give a colour that is not in the palette to the nearest class instead of refusing it."""


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
        """Give a pair's name without reading it."""
        return self.pairs[index].name

    def paths(self, index: int) -> tuple[Path, Path]:
        """Give a pair's image and mask file."""
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
    missing = [file for p in pairs.pairs for file in (p.image, p.mask) if not file.exists()]
    if missing:
        owner = next(p for p in pairs.pairs if missing[0] in (p.image, p.mask))
        role = "mask of" if missing[0] == owner.mask else "image"
        more = f", and {len(missing) - 1} more files are missing" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]}: no such file, the {role} '{owner.name}'{more}; add or unlist them "
            "('topseg check' names all)"
        )
    return Dataset(pairs, mask_reader(config, pairs), channels, scale)


def find_pairs(config: DataConfig, split: Split) -> Pairs:
    """Find the pairs of a split, whether their files exist or not.

    Raises:
        InputError: No such folder or list, or nothing in it.
    """
    module = "lists" if config.layout == "list" else config.layout
    value = config.train if split == "train" else config.val
    layout = importlib.import_module(f"topseg.data.layouts.{module}")
    found: Pairs = layout.find_pairs(Path(config.root), value, split)
    return found


def mask_reader(config: DataConfig, pairs: Pairs) -> MaskReader:
    """Make the reader of a data set's masks.

    A layout's own map from raw values to classes holds where ``label_map`` gives none; a plain
    folder or list that borrows the names of a published set takes values as they are.

    Raises:
        InputError: The classes are not known, or map or palette do not fit them.
    """
    labels = label_set(config)
    label_map: LabelMap | None = config.label_map
    if config.masks == "color" and label_map is not None:
        raise InputError(
            "data.label_map: has no meaning where masks hold colours; give data.palette one colour "
            "a class, and list the others in data.ignore_colors"
        )
    if label_map is None and config.layout in STANDARD_SETS:
        published, own_map = standard_set(config.layout)
        if labels.num_classes != published.num_classes:
            raise InputError(
                f"data.label_map: layout {config.layout} has {published.num_classes} classes, "
                f"data.classes gives {labels.num_classes}; say which raw value is which class"
            )
        label_map = pairs.label_map or own_map
    return MaskReader(
        labels,
        label_map,
        config.ignore_index,
        colors=config.masks == "color",
        ignore_colors=config.ignore_colors,
        nearest=config.nearest_color,
    )


def label_set(config: DataConfig) -> LabelSet:
    """Give a data set's classes.

    Raises:
        InputError: No classes are given, or they are not what they should be.
    """
    given = config.classes or (config.layout if config.layout in STANDARD_SETS else None)
    palette = config.palette
    if isinstance(given, str) and given in STANDARD_SETS:
        published, _ = standard_set(given)
        names, palette = published.names, palette or published.palette
    else:
        names = given if isinstance(given, tuple) else _read_names(config, given)
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"data.classes: '{twice}' is given twice; every class needs its own name")
    return LabelSet(names, palette or default_palette(len(names)))


def size_mismatch(
    mask: Path, mask_size: tuple[int, ...], image: Path, image_size: tuple[int, ...]
) -> str:
    """Say that a mask has another size than its image."""
    (h, w), (height, width) = mask_size, image_size[:2]
    hint = "make them equal"
    if (h, w) == (width, height):
        hint = "one of them is turned: save both upright, or with the same EXIF orientation"
    return f"{mask}: got {w}x{h} pixels, expected {width}x{height} as its image {image}; {hint}"


def _read_names(config: DataConfig, given: str | None) -> tuple[str, ...]:
    file = Path(config.root) / (given or "classes.txt")
    if given is not None and not file.is_file():
        known = did_you_mean(given, STANDARD_SETS)
        raise InputError(f"data.classes: '{given}' is neither a file nor a label set{known}")
    if not file.is_file():
        raise InputError(
            f"data.classes: none given; list their names in order, name a published set "
            f"({', '.join(STANDARD_SETS)}), or write one name a line into {file}"
        )
    names = tuple(line.strip() for line in file.read_text("utf-8-sig").splitlines())
    if not (names := tuple(filter(None, names))):
        raise InputError(f"{file}: empty, expected one class name a line")
    return names
