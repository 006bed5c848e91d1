"""The command line: one function a command, which parses, delegates and prints.

Exit codes: 0 done, 2 for anything the user can mend (one clear line, no traceback), 130 after
Ctrl-C, 143 after SIGTERM, 1 for a fault of topseg's own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from topseg import __version__
from topseg.errors import InputError

app = App(
    name="topseg",
    help="Real-time semantic segmentation: from labelled images to masks anywhere.\n\n"
    "MODEL is a bundle, a run or a checkpoint folder. DATA is a dataset.yaml, a recipe or a "
    "folder. Every command takes --debug to show the traceback of an error.",
    version=__version__,
    default_parameter=Parameter(negative=()),
)

Device = Literal["auto", "cpu", "cuda"]
Words = Annotated[tuple[str, ...], Parameter(show_default=False)]
_EXTRAS = {"torch": "train", "tensorboard": "train"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of ``topseg`` and ``python -m topseg``.

    Args:
        arguments: The words after ``topseg``; None takes them from the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, InputError | CycloptsError):
        return _fail(str(error), 2)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _fail(f"this needs {error.name}: pip install 'topseg[{_EXTRAS[error.name]}]'", 2)
    what = str(error).strip().partition("\n")[0]
    return _fail(f"internal error: {type(error).__name__}: {what} (--debug shows where)", 1)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


@app.command
def demo(*, out: Path = Path("demo"), device: Device = "auto") -> None:
    """Make a data set of scenes, train on it, evaluate, predict and write a report.

    Args:
        out: Folder for everything the demo makes.
        device: Where to train.
    """
    from topseg.demo import run_demo

    run_demo(out, device=device)


@app.command
def train(
    recipe: Path,
    *overrides: str,
    out: Path,
    resume: bool = False,
    device: Device = "auto",
    tensorboard: bool = False,
) -> int:
    """Train a model by a recipe.

    Args:
        recipe: The recipe (YAML).
        overrides: Changes to it, such as train.steps=500.
        out: The run folder to make.
        resume: Go on with the run in --out from its newest checkpoint.
        device: Where to train.
        tensorboard: Write TensorBoard files into the run as well.
    """
    from topseg.recipe import read_recipe
    from topseg.train.trainer import train

    settings = read_recipe(recipe, overrides)
    return train(settings, out, device=device, resume=resume, tensorboard=tensorboard)


@app.command
def recipe(recipe: Path, *overrides: str) -> None:
    """Print a resolved recipe with the meaning of every field.

    Args:
        recipe: The recipe (YAML).
        overrides: Changes to it, such as train.steps=500.
    """
    from topseg.config import explain
    from topseg.recipe import read_recipe

    print(explain(read_recipe(recipe, overrides)))


@app.command
def predict(
    model: str,
    *images: str,
    out: Path,
    overlay: bool = False,
    color: bool = False,
    probability: bool = False,
    runtime: str = "auto",
    device: Device = "auto",
    threads: int | None = None,
) -> None:
    """Write a mask for every image, at the image's own size.

    Args:
        model: A bundle, a run or a checkpoint folder.
        images: Image files, folders, patterns or .txt lists of files.
        out: Folder for the masks (PNG with palette); sub-folders are mirrored.
        overlay: Write the coloured mask laid over the image as well.
        color: Write the coloured mask as well.
        probability: Write the winning class's probability as well (8-bit grey PNG).
        runtime: The engine: auto, torch.
        device: Where to run.
        threads: CPU threads.
    """
    from topseg.hub import load
    from topseg.predict import predict_files

    predictor = load(model, runtime=runtime, device=device, threads=threads)
    predict_files(
        predictor, images, out, overlay=overlay, color=color, probability=probability
    )


@app.command
def evaluate(
    model: str,
    data: Path,
    *overrides: str,
    split: Literal["val", "train"] = "val",
    flip: bool = False,
    scales: tuple[float, ...] = (),
    json: Path | None = None,
    runtime: str = "auto",
    device: Device = "auto",
    threads: int | None = None,
) -> None:
    """Measure a model on a labelled data set, at each image's own resolution.

    Args:
        model: A bundle, a run or a checkpoint folder.
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
        split: Which split.
        flip: Average with the mirrored image.
        scales: Average over these scales, such as 0.5 0.75 1.0.
        json: Write the scores to this file as well.
        runtime: The engine: auto, torch.
        device: Where to run.
        threads: CPU threads.
    """


@app.command
def check(data: Path, *overrides: str) -> None:
    """Say what is wrong with a data set, file by file.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """


@app.command
def models() -> None:
    """List the networks with their parameters and multiply-adds."""
