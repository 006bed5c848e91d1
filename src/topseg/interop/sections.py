"""Sections: the mappings of a foreign configuration, taken key by key, every problem kept.

What nobody took when a section is closed was not understood, and is a problem too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from topseg.core.errors import did_you_mean

_ABSENT: Any = object()


class Section:
    """One mapping.

    Attributes:
        given: Whether the configuration has it.
        problems: What is wrong, one line each, shared by all sections.
    """

    def __init__(self, where: str, value: Any, problems: list[str]) -> None:
        """Open a section.

        Args:
            where: Its dotted key; empty: the whole configuration.
            value: What stands there; None: nothing.
            problems: Where problems are added.
        """
        self.given = value is not None
        self.problems = problems
        self._where = where
        self._left = dict(value) if isinstance(value, dict) else {}
        self._inner: list[Section] = []
        if self.given and not isinstance(value, dict):
            problems.append(f"{where}: got {value!r}, expected a section of 'key: value' lines")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def key(self, key: str) -> str:
        """Return the dotted name of a key."""
        return f"{self._where}.{key}" if self._where else key

    def refuse(self, key: str, text: str) -> None:
        """Note a problem with a key."""
        self.problems.append(f"{self.key(key)}: {text}")

    def take(self, key: str, default: Any = None) -> Any:
        """Take a value as it is."""
        return self._left.pop(key, default)

    def number(self, key: str, default: float | None = None) -> float:
        """Take a number; None: it has to be there."""
        value = self.take(key, default)
        if (number := _number(value)) is None:
            self.refuse(key, f"{_got(value)}, expected a number")
        return 1 if number is None else number

    def count(self, key: str, value: Any, most: int) -> int:
        """Check a whole number that was taken already, from 1 to ``most``; 1 where it is none."""
        if type(value) is int and 1 <= value <= most:
            return value
        self.refuse(key, f"{_got(value)}, expected a whole number from 1 to {most}")
        return 1

    def numbers(self, key: str, default: Sequence[float], count: int | None = None) -> list[float]:
        """Take a list of numbers, of a certain count if there is one."""
        value = self.take(key, default)
        numbers = [_number(one) for one in value] if isinstance(value, list | tuple) else [None]
        if None in numbers or count not in (None, len(numbers)):
            many = "" if count is None else f"{count} "
            self.refuse(key, f"{_got(value)}, expected a list of {many}numbers")
            return list(default)
        return [number for number in numbers if number is not None]

    def size(self, key: str, default: tuple[int, int]) -> tuple[int, int]:
        """Take [width, height] as (height, width)."""
        width, height = self.numbers(key, default[::-1], 2)
        return int(height), int(width)

    def choose(self, key: str, known: Collection[str], default: str | None = None) -> str | None:
        """Take one of the known words; None: it was none of them."""
        value = self.take(key, default)
        if isinstance(value, str) and value in known:
            return value
        word = did_you_mean(str(value), known)
        self.refuse(key, f"{_got(value)}, which topseg cannot honour here{word}")
        return None

    def kind(self, known: Collection[str]) -> str | None:
        """Take the type; with one that is not known the other keys mean nothing and are let go."""
        kind = self.choose("type", known)
        if kind is None:
            self._left.clear()
        return kind

    def only(self, key: str, *accepted: Any, default: Any = _ABSENT, why: str = "") -> None:
        """Take a value that can only be one of the accepted ones.

        Args:
            key: Its key.
            accepted: What topseg does.
            default: What its absence means; not given: absence is accepted.
            why: Put after the refusal.
        """
        value = self.take(key, default)
        if value is not _ABSENT and value not in accepted:
            expected = " or ".join(map(repr, accepted))
            self.refuse(key, f"got {value!r}, topseg has only {expected}{why and f' ({why})'}")

    def section(self, key: str) -> Section:
        """Take a section; one that is not there is empty."""
        return self._open(self.key(key), self.take(key))

    def sections(self, key: str) -> list[Section]:
        """Take a list of sections."""
        value = self.take(key, [])
        if not isinstance(value, list):
            self.refuse(key, f"got {value!r}, expected a list")
            return []
        return [self._open(f"{self.key(key)}.{place}", item) for place, item in enumerate(value)]

    def close(self) -> None:
        """Note every key that nobody took, here and in the sections inside."""
        for key in self._left:
            self.refuse(key, "topseg does not know this setting and cannot honour it; remove it")
        for inner in self._inner:
            inner.close()

    def _open(self, where: str, value: Any) -> Section:
        self._inner.append(Section(where, value, self.problems))
        return self._inner[-1]


def agreed(places: Iterable[tuple[Section, str]], default: Any) -> Any:
    """Take a value that may stand in several places and has to be the same in all of them."""
    found = [
        (section, key, value) for section, key in places if (value := section.take(key)) is not None
    ]
    for section, key, value in found[1:]:
        if value != found[0][2]:
            first = found[0][0].key(found[0][1])
            section.refuse(key, f"got {value!r}, but {first} is {found[0][2]!r}; make them equal")
    return found[0][2] if found else default


def _number(value: Any) -> float | None:
    """Return a finite number, of text too: YAML reads 1e-4 as text."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _got(value: Any) -> str:
    return "none given" if value is None else f"got {value!r}"
