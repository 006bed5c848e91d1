"""Commands that make models: demo, train, recipe, report, average, compare-runs."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from topseg.cli.app import MANY, START, TRAIN, Device, Flag, TrainDevice, app
from topseg.core.errors import InputError
from topseg.core.terminal import say, show_progress

if TYPE_CHECKING:
    from topseg.recipe import Recipe


@app.command(group=START)
def demo(*, out: Path = Path("demo"), device: TrainDevice = "auto") -> int:
    """Make a data set of scenes, train on it, evaluate, predict and write a report.

    Args:
        out: Folder for everything the demo makes.
        device: Where to train.
    """
    from topseg.demo import run_demo

    return run_demo(out, device=device)


@app.command(group=TRAIN)
def train(
    recipe: Path,
    /,
    *overrides: str,
    out: Path | None = None,
    resume: Flag = False,
    device: TrainDevice = "auto",
    track: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow"], ...], MANY] = (),
    allow_partial: Flag = False,
    dry_run: Flag = False,
) -> int:
    """Train a model by a recipe.

    Args:
        recipe: The recipe (YAML), topseg's or PaddleSeg's, or a packaged one's name.
        overrides: Changes to it, such as train.steps=500.
        out: The run folder to make; not needed for --dry-run.
        resume: Go on with the run in --out from its newest good checkpoint; with the word auto
            after it, start where there is no run yet.
        device: Where to train.
        track: Services that take the log and its pictures as well; TensorBoard's files lie in the
            run.
        allow_partial: Take what fits of model.weights, for another number of classes.
        dry_run: Put one batch through everything, say what a run would take, and write nothing.
    """
    from topseg.recipe import read_recipe
    from topseg.training.trainer import train
    from topseg.training.trial import dry_run as try_out

    # "--resume auto": no override is a bare word, so wherever the word stands it belongs there.
    start_anew = resume and "auto" in overrides
    changes = [word for word in overrides if not (start_anew and word == "auto")]
    settings = read_recipe(recipe, changes, report=say)
    if allow_partial:
        model = dataclasses.replace(settings.model, allow_partial=True)
        settings = dataclasses.replace(settings, model=model)
    if dry_run:
        say(try_out(settings, device))
        return 0
    if out is None:
        raise InputError("--out: give the run folder to make, such as --out runs/mine")
    resume = resume and (not start_anew or (out / "recipe.yaml").exists())
    code = train(settings, out, device=device, resume=resume, trackers=track)
    if code == 0 and os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first
        say("\n".join(_next(out, settings)))
    return code


def _next(run: Path, recipe: Recipe) -> list[str]:
    """Return what to do with a finished run: commands that work as they are."""
    from topseg.data.dataset import open_dataset

    model = shlex.quote(str(run))
    images = open_dataset(
        recipe.data, "val", channels=recipe.model.in_channels, scale=recipe.input.scale
    )
    image, here = images.paths(0)[0], Path.cwd()
    folder = image.parent.relative_to(here) if image.is_relative_to(here) else image.parent
    photos = shlex.quote(str(folder)) if image.is_file() else "PHOTOS"  # or it is in an archive
    overlay = " --overlay" if recipe.model.in_channels == 3 else ""
    return [
        f"next: topseg report {model} --out {shlex.quote(str(run / 'report.html'))}",
        f"      topseg predict {model} {photos} --out {shlex.quote(str(run / 'masks'))}{overlay}",
    ]


@app.command(group=TRAIN)
def recipe(recipe: Path, /, *overrides: str) -> None:
    """Print a resolved recipe with the meaning of every field.

    Args:
        recipe: The recipe (YAML), topseg's or PaddleSeg's, or a packaged one's name.
        overrides: Changes to it, such as train.steps=500.
    """
    from topseg.core.config import explain
    from topseg.recipe import read_recipe

    say(explain(read_recipe(recipe, overrides, report=lambda line: say(f"# {line}"))))


@app.command(group=TRAIN)
def compare_runs(a: Path, b: Path, /) -> int:
    """Report whether two runs are equal bit by bit: weights, averages, losses, scores.

    Args:
        a: A run folder.
        b: Another one.
    """
    from topseg.training.comparison import compare_runs

    differences = compare_runs(a, b)
    say("\n".join(differences) or f"{a} and {b} are equal bit by bit")
    return 1 if differences else 0


@app.command(group=TRAIN)
def report(run: Path, /, *, out: Path, device: Device = "auto") -> None:
    """Evaluate a run once more and write a report of one self-contained HTML file.

    Args:
        run: A run folder.
        out: The file to write.
        device: Where to run.
    """
    from topseg.report.run import report_run

    with show_progress("evaluate") as progress:
        scores = report_run(run, out, device=device, progress=progress)
    say(f"{scores.summary()}\n{out}: written")


@app.command(group=TRAIN)
def average(*models: Path, out: Path) -> None:
    """Average the weights of several models of one network into a bundle.

    Args:
        models: Runs (their best evaluations, where train.keep_best keeps several), checkpoints or
            bundles.
        out: The bundle to make.
    """
    from topseg.training.averaging import average_models

    say(f"{average_models(models, out).folder}: written")
