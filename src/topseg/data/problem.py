"""Problem: one thing that is wrong with a data set, and how many of them are told.

Files with one cause are listed below it, so that a hundred masks with one wrong value are one
thing to read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing, such as "missing mask".
        text: Which file, what, and how to mend it.
        serious: Training or evaluation would stop at it (an error), or not (a warning).
        cause: The text without what belongs to one file; empty: the text says all.
        file: The file that belongs to the cause, with the place in it.
    """

    kind: str
    text: str
    serious: bool = True
    cause: str = ""
    file: str = ""


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
