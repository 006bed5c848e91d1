"""Classes: what the numbers in a data set's masks mean."""

from __future__ import annotations

import functools
from pathlib import Path

from topseg.core.errors import InputError, did_you_mean
from topseg.core.labels import STANDARD_SETS, LabelMap, LabelSet, default_palette, standard_set
from topseg.data.config import DataConfig
from topseg.data.layouts import find_layout
from topseg.data.layouts.pairs import Pairs
from topseg.data.masks import MaskReader


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
            "per class, and list the others in data.ignore_colors"
        )
    own_labels = find_layout(config.layout).labels
    if label_map is None and own_labels is not None:
        published, own_map = own_labels()
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
    """Return a data set's classes.

    Raises:
        InputError: No classes are given, or they are not what they should be.
    """
    given, palette = config.classes, config.palette
    own_labels = find_layout(config.layout).labels
    if isinstance(given, str) and given in STANDARD_SETS:
        own_labels = functools.partial(standard_set, given)
    elif given:
        own_labels = None
    if own_labels is not None:
        published, _ = own_labels()
        names, palette = published.names, palette or published.palette
    else:
        names = given if isinstance(given, tuple) else _read_names(config, given)
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"data.classes: '{twice}' is given twice; every class needs its own name")
    return LabelSet(names, palette or default_palette(len(names)))


def _read_names(config: DataConfig, given: str | None) -> tuple[str, ...]:
    file = Path(config.root) / (given or "classes.txt")
    if given is not None and not file.is_file():
        known = did_you_mean(given, STANDARD_SETS)
        raise InputError(f"data.classes: '{given}' is neither a file nor a label set{known}")
    if not file.is_file():
        raise InputError(
            f"data.classes: none given; list their names in order, name a published set "
            f"({', '.join(STANDARD_SETS)}), or write one name per line into {file}"
        )
    names = tuple(line.strip() for line in file.read_text("utf-8-sig").splitlines())
    if not (names := tuple(filter(None, names))):
        raise InputError(f"{file}: empty, expected one class name a line")
    return names
