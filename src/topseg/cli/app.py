"""What the commands share: the application, kinds of options, a progress bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from cyclopts import App, Parameter

from topseg import __version__
from topseg.runtimes.registry import runtime_help

app = App(
    name="topseg",
    help="Real-time semantic segmentation: from labelled images to masks anywhere.\n\n"
    "MODEL is a bundle, a run, a checkpoint folder or a published name (topseg models). DATA is a "
    "dataset.yaml, a recipe or a folder. Every command takes --offline (download nothing) and "
    "--debug (show the traceback of an error).",
    version=__version__,
    default_parameter=Parameter(negative=()),
)

Runtime = Annotated[str, Parameter(help=runtime_help())]
Device = Literal["auto", "cpu", "cuda", "tensorrt"]
Flag = Annotated[bool, Parameter(show_default=False)]
MANY = Parameter(consume_multiple=True, show_default=False)


def _positive(_: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("expected a whole number above 0")


POSITIVE = Parameter(validator=_positive)


@contextlib.contextmanager
def show_progress(label: str, *, size: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, from the first call on; elsewhere nothing."""
    if not sys.stderr.isatty():  # rich takes 0.1 s to import
        yield lambda done, total: None
        return

    from rich.console import Console
    from rich.progress import DownloadColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    count = DownloadColumn() if size else MofNCompleteColumn()
    columns = (*Progress.get_default_columns()[:2], count, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(
            task, completed=done, total=total or None, visible=True
        )
