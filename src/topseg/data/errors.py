"""Errors about a data set that know the settings which mend them.

One text serves two commands: training reads ``data.ignore_index=11``, ``topseg check`` the same
without ``data.``; so what is wrong and what to set are kept apart until one of them prints it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from topseg.core.errors import InputError

_MANY = 32
_FEW_COLORS = 8


class DataError(InputError):
    """Something in a data set cannot be used.

    Attributes:
        what: What is wrong, without the remedy.
        settings: What to set in the data section, as ``key=value``.
        otherwise: In which case to set something else, and what; nothing: in none.
    """

    def __init__(
        self, what: str, *settings: str, otherwise: tuple[str, tuple[str, ...]] | None = None
    ) -> None:
        self.what, self.settings, self.otherwise = what, settings, otherwise
        text = f"{what}; set {_words(settings)}" if settings else what
        if otherwise is not None:
            text += f", or, {otherwise[0]}, {_words(otherwise[1])}"
        super().__init__(text)

    def __reduce__(self) -> tuple[type[DataError], tuple[str, ...]]:
        """Keep the settings where a loader process hands the error on."""
        return type(self), (self.what, *self.settings)


class NoValError(DataError):
    """A data set has no validation split; a share of the training split may become one."""


def _words(settings: tuple[str, ...]) -> str:
    return shlex.join(f"data.{setting}" for setting in settings)


class UnknownValuesError(DataError):
    """A mask holds values that are no class.

    Attributes:
        values: Which; of colours their codes, red the highest byte.
        place: Where in the file the first one is, in words.
        at: Its (row, column).
        cause: What is wrong, without file and place.
        others: Whether it holds values that are ignored already, too.
    """

    def __init__(
        self,
        what: str,
        *settings: str,
        place: str = "",
        at: tuple[int, int] | None = None,
        cause: str = "",
        values: frozenset[int] = frozenset(),
        others: bool = False,
    ) -> None:
        super().__init__(what, *settings)
        self.place, self.at, self.cause = place, at, cause
        self.values, self.others = values, others


def can_ignore(values: frozenset[int] | set[int]) -> bool:
    """Return whether values may be taken for 'no class': so many are another kind of mask."""
    return len(values) <= _MANY and min(values) >= 0 and max(values) < 65536


def ignore_setting(values: frozenset[int] | set[int]) -> str:
    """Return the setting that takes raw mask values for 'no class'."""
    listed = sorted(values)
    return f"ignore_index={listed[0] if len(listed) == 1 else listed}"


def ignore_colors_setting(
    codes: frozenset[int] | set[int], before: Iterable[tuple[int, ...]]
) -> tuple[str, ...]:
    """Return the setting that takes colours for 'no class'; none for many, as JPEG leaves them.

    Args:
        codes: Of the colours, red the highest byte.
        before: Those that have no class already.
    """
    if not codes or len(codes) > _FEW_COLORS:
        return ()
    colors = ([code >> 16, code >> 8 & 255, code & 255] for code in sorted(codes))
    return (f"ignore_colors={[*map(list, before), *colors]}",)
