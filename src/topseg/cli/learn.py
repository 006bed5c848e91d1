"""Commands that make models: demo, train, recipe, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from topseg.cli.app import MANY, Device, Flag, app, show_progress
from topseg.core.errors import InputError


@app.command
def demo(*, out: Path = Path("demo"), device: Device = "auto") -> int:
    """Make a data set of scenes, train on it, evaluate, predict and write a report.

    Args:
        out: Folder for everything the demo makes.
        device: Where to train.
    """
    from topseg.demo import run_demo

    return run_demo(out, device=device)


@app.command
def train(
    recipe: Path,
    /,
    *overrides: str,
    out: Path | None = None,
    resume: Flag = False,
    resume_auto: Flag = False,
    device: Device = "auto",
    track: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow"], ...], MANY] = (),
    allow_partial: Flag = False,
    dry_run: Flag = False,
) -> int:
    """Train a model by a recipe.

    Args:
        recipe: The recipe (YAML), topseg's or PaddleSeg's.
        overrides: Changes to it, such as train.steps=500.
        out: The run folder to make.
        resume: Go on with the run in --out from its newest good checkpoint.
        resume_auto: The same, or start where there is no run yet; also written --resume auto.
        device: Where to train.
        track: Services that take the log and its pictures as well; TensorBoard's files lie in the
            run.
        allow_partial: Take what fits of model.weights, for another number of classes.
        dry_run: Put one batch through everything, say what a run would take, and write nothing.
    """
    from topseg.recipe import read_recipe
    from topseg.train.trainer import train
    from topseg.train.trial import dry_run as try_out

    more = ["model.allow_partial=true"] if allow_partial else []
    settings = read_recipe(recipe, [*overrides, *more], report=print)
    if dry_run:
        print(try_out(settings, device))
        return 0
    if out is None:
        raise InputError("--out: give the run folder to make, such as --out runs/mine")
    resume = resume or (resume_auto and (out / "recipe.yaml").exists())
    return train(settings, out, device=device, resume=resume, trackers=track)


@app.command
def recipe(recipe: Path, /, *overrides: str) -> None:
    """Print a resolved recipe with the meaning of every field.

    Args:
        recipe: The recipe (YAML), topseg's or PaddleSeg's.
        overrides: Changes to it, such as train.steps=500.
    """
    from topseg.core.config import explain
    from topseg.recipe import read_recipe

    print(explain(read_recipe(recipe, overrides, report=lambda line: print(f"# {line}"))))


@app.command
def check(data: Path, /, *overrides: str) -> int:
    """Say what is wrong with a data set, file by file.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """
    from topseg.data.checking import check
    from topseg.recipe import read_data_recipe

    source = read_data_recipe(data, overrides)
    report = check(source.data, channels=source.model.in_channels, scale=source.input.scale)
    print(report.text())
    return 2 if report.errors else 0


@app.command
def compare_runs(a: Path, b: Path, /) -> int:
    """Say whether two runs are equal bit by bit: weights, averages, losses, scores.

    Args:
        a: A run folder.
        b: Another one.
    """
    from topseg.train.comparison import compare_runs

    differences = compare_runs(a, b)
    print("\n".join(differences) or f"{a} and {b} are equal bit by bit")
    return 1 if differences else 0


@app.command
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
    print(f"{scores.summary()}\n{out}: written")


@app.command
def weights(data: Path, /, *overrides: str) -> None:
    """Print class weights for the loss, counted on a data set by each published rule.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """
    from topseg.data.frequency import describe_weights
    from topseg.recipe import read_data

    print(describe_weights(read_data(data, overrides)))


@app.command
def average(*models: Path, out: Path) -> None:
    """Average the weights of several models of one network into a bundle.

    Args:
        models: Runs (their best evaluations, where train.keep_best keeps several), checkpoints or
            bundles.
        out: The bundle to make.
    """
    from topseg.train.averaging import average_models

    print(f"{average_models(models, out).folder}: written")
