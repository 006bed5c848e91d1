"""App: the application that commands register with, and the kinds of options that they share."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from topseg import __version__
from topseg.runtimes.registry import runtime_help

app = App(
    name="topseg",
    help="Real-time semantic segmentation: from labelled images to masks anywhere.\n\n"
    "MODEL is a bundle, a run, a checkpoint folder or a published name (topseg models). DATA is a "
    "dataset.yaml, a recipe, a folder, or a ZIP or TAR of one.",
    version=__version__,
    default_parameter=Parameter(negative=()),
    help_format="plaintext",  # the list of commands; Markdown would take half of its time
)

# The commands in the order in which people meet them.
START, DATA, TRAIN, MASKS, MEASURE, ELSEWHERE = (
    Group.create_ordered(name)
    for name in ("Start", "Data", "Training", "Masks", "Measuring", "Other programs")
)

Runtime = Annotated[str, Parameter(help=runtime_help())]
Device = Literal["auto", "cpu", "cuda", "tensorrt"]
TrainDevice = Literal["auto", "cpu", "cuda"]
Flag = Annotated[bool, Parameter(show_default=False)]
MANY = Parameter(consume_multiple=True, show_default=False)


def _check_positive(_: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("expected a whole number above 0")


POSITIVE = Parameter(validator=_check_positive)


def _check_not_negative(_: object, value: float | None) -> None:
    if value is not None and not value >= 0:
        raise ValueError("expected a number, 0 or above")


NOT_NEGATIVE = Parameter(validator=_check_not_negative)
