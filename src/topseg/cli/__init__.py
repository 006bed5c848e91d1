"""The command line: one function for each command, which parses, delegates and prints.

Exit codes: 0 done, 2 for anything the user can mend (one clear line, no traceback), 3 where some
images or videos could not be read and all others are done, 130 after Ctrl-C, 143 after SIGTERM, 1
for a fault of topseg's own.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from topseg.cli import data, evaluate, models, predict, serve, train
from topseg.cli.app import Flag, app
from topseg.core.errors import InputError, UnreadableError
from topseg.core.installing import pip_install
from topseg.core.terminal import warn
from topseg.data.errors import DataError, NoValError

# Importing the commands registers them.
__all__ = ["data", "evaluate", "main", "models", "predict", "serve", "train"]

for _name in app:  # a command's own page is prose, which Markdown wraps
    app[_name].help_format = "markdown"

app.register_install_completion_command(
    help="Let the shell complete commands and options (bash, zsh, fish)."
)

_EXTRAS = {
    **dict.fromkeys(("torch", "tensorboard"), "train"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "grpc", "prometheus_client"), "serve"),
    **dict.fromkeys(("ray", "pyarrow"), "ray"),
    "cv2": "data",
    "rasterio": "geo",
    "av": "video",
    "onnxruntime": "onnx",
}

_TRAINING = ("train", "export", "demo")
_MEASURING = ("evaluate", "compare", "show")
_PREFIXES = {
    **dict.fromkeys(("check", "weights", *_MEASURING), ""),
    **dict.fromkeys(("train", "bench-data"), "data."),
}
"""Commands that take changes of the data section -> what its keys begin with there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of ``topseg`` and ``python -m topseg``.

    Args:
        arguments: The words after ``topseg``; None takes them from the process.

    Returns:
        The exit code.
    """
    # Before any engine loads: OpenMP's threads spin while they wait, which on a busy machine
    # (loader processes are enough) makes training several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Streams that were closed before the start are None, and the next files would take their place.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    # Names and texts that the terminal's encoding has not got are escaped instead of failing.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(app.meta, words)
    except OSError as error:  # of --version and --help, which print before any command runs
        return _explain(error, words)


@app.meta.default
def command(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Flag = False,
    offline: Flag = False,
) -> int:
    """Run one command; these options belong to every one.

    Args:
        tokens: The command and its words.
        debug: Show the traceback of an error.
        offline: Download nothing.
    """
    if offline:
        os.environ["TOPSEG_OFFLINE"] = "1"
    try:
        return _run(app, [_checked(token) for token in tokens])
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if debug:
            raise
        return _explain(error, tokens)


def _run(application: App, words: Sequence[str]) -> int:
    code = application(words, exit_on_error=False, print_error=False, result_action="return_value")
    return code if isinstance(code, int) else 0


def _checked(word: str) -> str:
    """Return a word of the command line, with the home folder for the ``~`` of ``--option=~/x``.

    Raises:
        InputError: It is empty, which for a path would be the current folder.
    """
    option, equals, value = word.partition("=")
    if not word or (option.startswith("--") and equals and not value):
        raise InputError(
            f"got an empty word{f' for {option}' * bool(option)}: is a variable unset?"
        )
    if option.startswith("--") and value.startswith("~"):  # a shell leaves it alone there
        return f"{option}={os.path.expanduser(value)}"
    return os.path.expanduser(word) if word.startswith("~") else word


def _drop_output() -> None:
    """Let what is still to be printed go nowhere, so that it does not fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception, words: Sequence[str]) -> int:
    if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
        _drop_output()
        return 141
    if isinstance(error, DataError) and words[0] in _PREFIXES:
        from topseg.data.remedies import mended

        typed = ("topseg", *words)
        text = mended(error, typed, _PREFIXES[words[0]])
        if words[0] in _MEASURING and isinstance(error, NoValError):
            text += f"\nor, for all of them: {shlex.join((*typed, '--split', 'train'))}"
        return _fail(text, 2)
    if isinstance(error, UnreadableError):
        return _fail(str(error), 3)
    if isinstance(error, InputError | CycloptsError):
        return _fail(str(error), 2)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        extra = "train" if words[0] in _TRAINING else _EXTRAS[error.name]
        command = pip_install(f"topseg[{extra}]")
        return _fail(f"this needs {error.name}: {command}", 2)
    if isinstance(error, OSError) and error.filename is not None:  # a file of the user's
        return _fail(f"{os.fsdecode(error.filename)}: {error.strerror}", 2)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _drop_output()
        return _fail("standard output, or a file: no space left on device", 2)
    what = str(error).strip().partition("\n")[0]
    return _fail(f"internal error: {type(error).__name__}: {what} (--debug shows where)", 1)


def _fail(message: str, code: int) -> int:
    warn(message)
    return code
