"""Commands about data sets: check, weights, bench-data."""

from __future__ import annotations

import shlex
from pathlib import Path

from topseg.cli.app import app
from topseg.cli.terminal import say
from topseg.core.errors import InputError
from topseg.core.storage import is_dir


@app.command
def check(data: Path, /, *overrides: str) -> int:
    """Report what is wrong with a data set, file by file.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """
    from topseg.data.checking import check
    from topseg.data.errors import DataError
    from topseg.data.remedies import with_settings
    from topseg.recipe import read_data_recipe

    source = read_data_recipe(data, overrides)
    try:
        report = check(source.data, channels=source.model.in_channels, scale=source.input.scale)
    except DataError as error:
        mended = with_settings(("topseg", "check", str(data), *overrides), error.settings)
        mend = f"\nto mend it: {mended}" if error.settings else ""
        raise InputError(f"{error.what}{mend}") from None
    say(report.text(command=("topseg", "check", str(data), *overrides)))
    if not report.errors and is_dir(data):
        words = [f"data.root={data}", *(f"data.{one}" for one in overrides)]
        command = ("topseg", "train", "recipes/topformer_tiny.yaml", "--out", "runs/mine", *words)
        say(f"to train on it: {shlex.join(command)}")
    return 2 if report.errors else 0


@app.command
def weights(data: Path, /, *overrides: str) -> None:
    """Print class weights for the loss, counted on a data set by each published rule.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """
    from topseg.data.frequency import describe_weights
    from topseg.recipe import read_data

    say(describe_weights(read_data(data, overrides)))


@app.command
def bench_data(recipe: Path, /, *overrides: str, seconds: float = 5.0) -> None:
    """Measure images/s of each stage between a file and a training step.

    Args:
        recipe: The recipe (YAML), topseg's or PaddleSeg's.
        overrides: Changes to it, such as data.root=PATH.
        seconds: How long to repeat each measurement.
    """
    from topseg.recipe import read_recipe
    from topseg.train.trial import bench_data

    say(bench_data(read_recipe(recipe, overrides, report=say), seconds=seconds))
