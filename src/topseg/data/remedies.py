"""Remedies: which settings mend what is wrong with a data set as a whole."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs
from topseg.data.errors import DataError
from topseg.data.layouts import find_layout
from topseg.data.masks import MaskReader

_SAMPLE: Final = 20
"""Masks that are read to guess classes from."""


def without_classes(config: DataConfig, error: DataError) -> DataError:
    """Return the error that no classes are given, with names for the numbers of the masks."""
    try:
        pairs = find_pairs(config, "train")
        reader = MaskReader(LabelSet(("class",), ((0, 0, 0),)))
        raw = (np.unique(reader.read_raw(pair.mask)) for pair in pairs.pairs[:_SAMPLE])
        values = sorted({int(value) for part in raw for value in part} - {255})
    except DataError as other:
        return other if other.settings else error
    except InputError:
        return error
    if not values or values[-1] > 254:
        return error
    names = ", ".join(f"class{value}" for value in range(values[-1] + 1))
    text = f"{error.what}; the masks hold {len(values)} numbers, 0 to {values[-1]}"
    return DataError(text, f"classes=[{names}]")


def black_and_white(
    config: DataConfig, names: Sequence[str], seen: NDArray[np.int64]
) -> DataError | None:
    """Return the error that masks hold 0 and 255, of which 255 was to be a class.

    Args:
        config: The data section.
        names: The classes.
        seen: (K,) pixels of each class, where there are ignored ones as well.
    """
    given = config.ignore_index
    takes_255 = given == 255 or (isinstance(given, tuple) and 255 in given)
    if not takes_255 or config.label_map or config.masks == "color" or len(names) > 2:
        return None
    if find_layout(config.layout).labels is not None or (len(names) == 2 and seen[1]):
        return None
    what = (
        "the masks hold 0 and 255 only, and 255 stands for 'no class', so that one class alone is "
        "left; if 255 is the second class, map it"
    )
    settings = ["label_map={0: 0, 255: 1}"]
    if len(names) == 1:
        other = "other" if names[0] == "background" else "background"
        pair = ("background", "other") if other == "other" else ("background", names[0])
        settings.append(f"classes=[{', '.join(pair)}]")
    return DataError(what, *settings)


def with_settings(command: Sequence[str], settings: Sequence[str]) -> str:
    """Return a command line with settings, each in place of an earlier one of its key."""
    keys = tuple(f"{setting.partition('=')[0]}=" for setting in settings)
    return shlex.join([*(word for word in command if not word.startswith(keys)), *settings])
