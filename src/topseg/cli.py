"""The command line: one function a command, which parses, delegates and prints.

Exit codes: 0 done, 2 for anything the user can mend (one clear line, no traceback), 130 after
Ctrl-C, 143 after SIGTERM, 1 for a fault of topseg's own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from topseg import __version__
from topseg.errors import InputError

app = App(
    name="topseg",
    help="Real-time semantic segmentation: from labelled images to masks anywhere.\n\n"
    "MODEL is a bundle, a run or a checkpoint folder. DATA is a dataset.yaml, a recipe or a "
    "folder. Every command takes --debug to show the traceback of an error.",
    version=__version__,
    default_parameter=Parameter(negative=(), show_default=lambda value: value not in ((), False)),
    help_flags=["--help", "-h"],
)

Device = Literal["auto", "cpu", "cuda"]
_EXTRAS = {"torch": "train", "tensorboard": "train", "openvino": "openvino", "onnx": "onnx"}


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
    except (InputError, CycloptsError) as error:
        if debug:
            raise
        return _fail(str(error), 2)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if debug or extra is None:
            raise
        return _fail(f"this needs {error.name}: pip install 'topseg[{extra}]'", 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            raise
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        return _fail(f"internal error ({type(error).__name__}): {what}; --debug shows where", 1)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


@app.command
def demo(*, out: Path = Path("demo"), device: Device = "auto") -> None:
    """Make a small data set of scenes, train on it, evaluate, predict and write a report.

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
    from topseg.train.trainer import train as run

    settings = read_recipe(recipe, overrides)
    return run(settings, out, device=device, resume=resume, tensorboard=tensorboard)


@app.command
def recipe(recipe: Path, *overrides: str) -> None:
    """Print the resolved recipe with the meaning of every field.

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
    images: Annotated[list[str], Parameter(consume_multiple=True)],
    /,
    *,
    out: Path,
) -> None:
    """Write masks for images.

    Args:
        model: A bundle, a run or a checkpoint folder.
        images: Image files, folders, patterns, or .txt lists of files.
        out: Folder for the masks.
    """


def models() -> None: ...


def _unused(_: Any) -> None: ...
