"""Errors that teach: one exception for everything a user can get wrong.

Every message says what is wrong, where, what was got, what was expected and how to mend it.
The command line prints it as it is and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Something given by the user cannot be used; the message carries the remedy."""


class UnreadableError(InputError):
    """Some inputs could not be read, and all the others are done (exit code 3)."""


def shorten(value: Any, length: int = 100) -> str:
    """Return a value as it would be written in Python, cut where it is long.

    Args:
        value: What was got.
        length: Most characters.
    """
    if isinstance(value, str | bytes | list | tuple):
        value = value[:length]
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word.

    Args:
        word: What was typed.
        known: What would have been accepted.

    Returns:
        ``", did you mean 'name'?"`` or, where nothing is near, ``", known: a, b, c"``.
    """
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f", did you mean '{near[0]}'?"
    return f", known: {', '.join(known)}" if known else ""
