"""Remedies: which settings mend what is wrong with a data set as a whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.config import DataConfig
from topseg.data.errors import DataError, ignore_setting
from topseg.data.layouts import LAYOUTS, find_layout
from topseg.data.layouts.pairs import Pair
from topseg.data.masks import MaskReader, decode_colors

_SAMPLE: Final = 40
"""About how many masks are read to guess classes from."""
_MOST_COLORS: Final = 64
_SPARSE: Final = 4
"""Numbers are names of something else, not of classes in order, where fewer than one of so many is
used."""


def without_classes(error: DataError, pairs: Sequence[Pair]) -> DataError:
    """Return the error that no classes are given, with names for the numbers of the masks.

    Args:
        error: That none are given.
        pairs: Of a split, some masks of which are read.
    """
    pairs = pairs[:: max(1, len(pairs) // _SAMPLE)]
    raw = _values_of(pairs)
    if raw is None:
        return _with_colors(error, pairs)
    every = {int(value) for part in raw for value in part}
    values = sorted(every - {255})
    if not values or values[-1] > 254:
        return error
    many = f"{len(values)} numbers, {values[0]} to {values[-1]}"
    text = f"{error.what}; the masks hold {many if len(values) > 1 else f'the number {values[0]}'}"
    if known := _published([pair.image.stem for pair in pairs], every):
        return DataError(f"{text}, and the images have names of {known[0]}", *known[1])
    if len(values) * _SPARSE < values[-1]:  # numbers with gaps, such as 0, 100 and 200
        numbers = ", ".join(f"{value}: {index}" for index, value in enumerate(values))
        more = ", 255: ignore" if 255 in every else ""
        return DataError(text, _classes(values), f"label_map={{{numbers}{more}}}")
    last, otherwise = values[-1], None
    if 255 not in every and last > 0:
        void = (_classes(range(last)), ignore_setting({last}))
        otherwise = (f"if {last} stands for 'no class'", void)
    return DataError(text, _classes(range(last + 1)), otherwise=otherwise)


def _values_of(pairs: Sequence[Pair], colors: bool = False) -> list[NDArray[Any]] | None:
    """Return what each mask holds; None: one of them cannot be read so."""
    reader = MaskReader(LabelSet(("class",), ((0, 0, 0),)), colors=colors)
    try:
        return [np.unique(reader.read_raw(pair.mask)) for pair in pairs]
    except InputError:
        return None


def _with_colors(error: DataError, pairs: Sequence[Pair]) -> DataError:
    """Return the error with a class for each colour, where the masks hold few."""
    raw = _values_of(pairs, colors=True)
    codes = np.unique(np.concatenate(raw)) if raw else np.empty(0, np.int32)
    if not 1 < len(codes) <= _MOST_COLORS:
        return error
    return DataError(
        f"{error.what}; the masks hold {len(codes)} colours",
        _classes(range(len(codes))),
        f"palette={decode_colors(codes).tolist()}",
        "masks=color",
    )


def _classes(values: Sequence[int]) -> str:
    return f"classes=[{', '.join(f'class{value}' for value in values)}]"


def _published(stems: Sequence[str], values: set[int]) -> tuple[str, tuple[str, ...]] | None:
    """Recognize the images of a published data set that lie in other folders, by their names.

    Args:
        stems: Of the images.
        values: What the masks hold.

    Returns:
        The name of the layout, and settings that name its classes where the masks hold them as they
        are; None: no such set.
    """
    for layout in LAYOUTS.values():
        pattern, labels = layout.image_names, layout.labels
        if not pattern or not labels or not all(re.fullmatch(pattern, stem) for stem in stems):
            continue
        published, raw = labels()
        others = values - set(range(published.num_classes))
        ignored = {value for value, target in (raw or {}).items() if target == "ignore"}
        if others <= ignored | {255}:
            more = [ignore_setting(others)] if others - {255} else []
            return layout.name, (f"classes={layout.name}", *more)
    return None


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


def mended(error: DataError, command: Sequence[str], prefix: str = "") -> str:
    """Return what is wrong and the command that mends it, ready to be pasted.

    Args:
        error: Which knows what to set.
        command: The words of the command that failed.
        prefix: What the command has before a key of the data section.
    """
    lines = [error.what]
    cases = (("to mend it", error.settings), *((error.otherwise,) if error.otherwise else ()))
    for case, settings in cases:
        if settings:
            words = with_settings(command, [f"{prefix}{setting}" for setting in settings])
            lines.append(f"{case}: {words}" if len(lines) == 1 else f"or, {case}: {words}")
    return "\n".join(lines)


def with_settings(command: Sequence[str], settings: Sequence[str]) -> str:
    """Return a command line with settings, each in place of an earlier one of its key.

    They stand behind the others, or before the options, some of which take all words that follow.
    """
    keys = tuple(f"{setting.partition('=')[0]}=" for setting in settings)
    words = [word for word in command if not word.startswith(keys)]
    others = [number for number, word in enumerate(words) if "=" in word and word[:1] != "-"]
    options = [number for number, word in enumerate(words) if word.startswith("--")]
    at = others[-1] + 1 if others else (options or [len(words)])[0]
    return shlex.join([*words[:at], *settings, *words[at:]])
