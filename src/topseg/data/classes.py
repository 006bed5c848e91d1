"""Classes: what the numbers in a data set's masks mean."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from topseg.core.errors import InputError, did_you_mean
from topseg.core.labels import (
    STANDARD_SETS,
    Color,
    LabelMap,
    LabelSet,
    default_palette,
    standard_set,
)
from topseg.core.storage import home, is_file, read_bytes
from topseg.data.config import DataConfig
from topseg.data.errors import DataError
from topseg.data.layouts import find_layout
from topseg.data.layouts.pairs import Pairs
from topseg.data.masks import MaskReader

LABELMAP: Final = "labelmap.txt"
"""File in the root that CVAT writes beside masks of colours."""
_CVAT_LINE: Final = re.compile(r"(.+?):(\d+),(\d+),(\d+):[^:]*:[^:]*")


def mask_reader(config: DataConfig, pairs: Pairs) -> MaskReader:
    """Make the reader of a data set's masks.

    Raises:
        InputError: The classes are not known, or map or palette do not fit them.
    """
    config = written_out(config, pairs)
    return MaskReader(
        label_set(config),
        config.label_map,
        config.ignore_index,
        colors=config.masks == "color",
        ignore_colors=config.ignore_colors,
        nearest=config.nearest_color,
    )


def written_out(config: DataConfig, pairs: Pairs) -> DataConfig:
    """Return the section with what the layout and files in the root say of the masks written out.

    A layout's own map from raw values to classes holds where ``label_map`` gives none; a plain
    folder or list that borrows the names of a published set takes values as they are.

    Raises:
        InputError: The classes are not known, or the map does not fit them.
    """
    own_set = _own_set(config)
    labels = label_set(config)
    label_map: LabelMap | None = config.label_map
    colors = config.masks == "color" or (config.masks is None and own_set.colored)
    if colors and label_map is not None:
        raise InputError(
            "data.label_map: has no meaning where masks hold colours; give data.palette one colour "
            "per class, and list the others in data.ignore_colors"
        )
    own_labels = find_layout(config.layout).labels
    if label_map is None and own_labels is not None and not colors and not own_set.colored:
        published, own_map = own_labels()
        if labels.num_classes != published.num_classes:
            raise InputError(
                f"data.label_map: layout {config.layout} has {published.num_classes} classes, "
                f"data.classes gives {labels.num_classes}; say which raw value is which class"
            )
        label_map = pairs.label_map or own_map
    return dataclasses.replace(
        config,
        classes=labels.names,
        palette=labels.palette,
        label_map=None if label_map is None else dict(label_map),
        masks="color" if colors else "index",
    )


def label_set(config: DataConfig) -> LabelSet:
    """Return a data set's classes.

    Raises:
        InputError: No classes are given, or they are not what they should be.
    """
    own_set = _own_set(config)
    names, palette = own_set.names, config.palette or own_set.palette
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"data.classes: '{twice}' is given twice; every class needs its own name")
    if (strange := unprintable(names)) is not None:
        raise InputError(f"data.classes: got {strange!a}, expected a name that can be printed")
    return LabelSet(names, palette or default_palette(len(names)))


def unprintable(names: Sequence[str]) -> str | None:
    """Return the first name that is empty or cannot be printed; None: all can be."""
    return next((name for name in names if not name or not name.isprintable()), None)


@dataclass(frozen=True)
class _OwnSet:
    """The class names of a data set, and what their source says of colours.

    Attributes:
        names: In order.
        palette: One colour per class; None: the source has none.
        colored: Whether it is a label map that was made for masks of colours.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...] | None = None
    colored: bool = False


def _own_set(config: DataConfig) -> _OwnSet:
    """Find the classes: in the section, in a file below the root, or by the layout."""
    given, root = config.classes, home(Path(config.root))
    if isinstance(given, tuple):
        return _OwnSet(given)
    if given in STANDARD_SETS:
        published, _ = standard_set(given)
        return _OwnSet(published.names, published.palette)
    if given is not None:
        if not is_file(root / given):
            known = did_you_mean(given, STANDARD_SETS)
            raise InputError(f"data.classes: '{given}' is neither a file nor a label set{known}")
        return _read_names(root / given)
    if is_file(root / LABELMAP):
        return _read_names(root / LABELMAP)
    own_labels = find_layout(config.layout).labels
    if own_labels is not None:
        published, _ = own_labels()
        return _OwnSet(published.names, published.palette)
    if not is_file(root / "classes.txt"):
        raise DataError(
            f"data.classes: none given; list their names in order, name a published set "
            f"({', '.join(STANDARD_SETS)}), or write one name per line into {root / 'classes.txt'}"
        )
    return _read_names(root / "classes.txt")


def _read_names(file: Path) -> _OwnSet:
    """Read one name per line, or CVAT's lines ``name:red,green,blue:parts:actions``."""
    try:
        lines = [line.strip() for line in read_bytes(file).decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: cannot be read as class names; save it as UTF-8 ({error})"
        ) from None
    lines = [line for line in lines if line]
    if any(_CVAT_LINE.fullmatch(line) for line in lines):
        lines = [line for line in lines if not line.startswith("#")]
        found = [_CVAT_LINE.fullmatch(line) for line in lines]
        wrong = next((line for line, match in zip(lines, found, strict=True) if not match), None)
        if wrong is not None:
            raise InputError(f"{file}: got '{wrong}', expected 'name:red,green,blue::'")
        rows = [match.groups() for match in found if match]
        palette = tuple((int(r), int(g), int(b)) for _, r, g, b in rows)
        strange = next((name for name, *color in rows if any(int(c) > 255 for c in color)), None)
        if strange is not None:
            raise InputError(f"{file}: the colour of '{strange}' has a value above 255")
        return _OwnSet(tuple(name for name, *_ in rows), palette, colored=True)
    if not lines:
        raise InputError(f"{file}: empty, expected one class name per line")
    return _OwnSet(tuple(lines))
