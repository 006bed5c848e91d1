"""Problem: one thing that is wrong with a data set, and how a list of them is printed.

Files with one cause are listed below it, so that a hundred masks with one wrong value are one
thing to read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """Where a problem can be seen.

    Attributes:
        image: The image, where it can be read.
        mask: Its mask.
        place: (row, column) of the first pixel in question; None: all of it.
        other: Another image that it is compared with.
        shift: (down, right) in pixels, where the mask would fit.
    """

    image: Path | None = None
    mask: Path | None = None
    place: tuple[int, int] | None = None
    other: Path | None = None
    shift: tuple[int, int] | None = None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing, such as "missing mask".
        text: Which file, what, and how to mend it.
        serious: Training or evaluation would stop at it (an error), or not (a warning).
        cause: The text without what belongs to one file; empty: the text says all.
        file: The file that belongs to the cause, with the place in it.
        score: How bad it is, where that is a number.
        evidence: Where it can be seen; None: nowhere.
    """

    kind: str
    text: str
    serious: bool = True
    cause: str = ""
    file: str = ""
    score: float | None = None
    evidence: Evidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "severity": "error" if self.serious else "warning",
            "text": self.text,
        }
        if self.score is not None:
            found["score"] = round(self.score, 3)
        if seen := self.evidence:
            files = {"image": seen.image, "mask": seen.mask, "other": seen.other}
            found |= {name: str(path) for name, path in files.items() if path is not None}
            places = {"place": seen.place, "shift": seen.shift}
            found |= {name: list(place) for name, place in places.items() if place is not None}
        return found


def problem_lines(problems: Sequence[Problem], limit: int | None) -> Iterator[str]:
    """Write problems by kind, and by cause where several have the same.

    Args:
        problems: What was found.
        limit: Files of each cause, and single problems of each kind; None writes all.
    """
    for kind in dict.fromkeys(problem.kind for problem in problems):
        these = [problem for problem in problems if problem.kind == kind]
        yield f"  {kind} ({len(these)})"
        counts = Counter(problem.cause for problem in these)
        shared = [cause for cause, count in counts.items() if cause and count > 1]
        for cause in shared:
            yield f"    {cause}"
            yield from _some([f"      {one.file}" for one in these if one.cause == cause], limit)
        yield from _some([_indented(one.text) for one in these if one.cause not in shared], limit)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _some(lines: Sequence[str], limit: int | None) -> Iterator[str]:
    shown = lines[:limit]
    for text in shown:
        yield from text.splitlines()
    if len(shown) < len(lines):
        blank = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
        yield f"{blank}... and {len(lines) - len(shown)} more"
