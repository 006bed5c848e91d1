"""Terminal: the one way to show progress and the one way to tell the user something."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


def say(text: object) -> None:
    """Print a result, on standard output."""
    print(text, flush=True)


def warn(text: object) -> None:
    """Print what the user should know beside the result, on standard error."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a time for people: 80 ms, 0.25 s, 12 s, 3 min, 1.5 h."""
    if seconds < 0.1:
        return f"{1e3 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def show_progress(label: str, *, size: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, from the first call on; elsewhere nothing.

    Args:
        label: What is going on.
        size: Whether the numbers are bytes.

    Yields:
        A function of (done, total).
    """
    if not sys.stderr.isatty():  # rich takes 0.1 s to import
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    count = DownloadColumn() if size else MofNCompleteColumn()
    columns = (*Progress.get_default_columns()[:2], count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(
            task, completed=done, total=total or None, visible=True
        )
