"""The command line: one function a command, which parses, delegates and prints.

Exit codes: 0 done, 2 for anything the user can mend (one clear line, no traceback), 3 from predict
where some images could not be read and all others are done, 130 after Ctrl-C, 143 after SIGTERM, 1
for a fault of topseg's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from topseg.cli import learn, share, use
from topseg.cli.app import app
from topseg.core.errors import InputError

__all__ = ["learn", "main", "share", "use"]  # importing the commands registers them

_EXTRAS = {
    **dict.fromkeys(("torch", "tensorboard"), "train"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "grpc", "prometheus_client"), "serve"),
    **dict.fromkeys(("ray", "pyarrow"), "ray"),
    "rasterio": "geo",
    "av": "video",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of ``topseg`` and ``python -m topseg``.

    Args:
        arguments: The words after ``topseg``; None takes them from the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Before any engine loads: OpenMP's threads spin while they wait, which on a busy machine
    # (loader processes are enough) makes training several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in words
    if "--offline" in words:
        os.environ["TOPSEG_OFFLINE"] = "1"
    words = [word for word in words if word not in ("--debug", "--offline")]
    # A hyphen alone would be taken for an option.
    words = ["/dev/stdin" if word == "-" else word for word in words]
    if "auto" in words[1:] and words[(at := words.index("auto")) - 1] == "--resume":
        words[at - 1 : at + 1] = ["--resume-auto"]  # a flag that may have a word after it
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
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
