"""Quiet: keep what engines and converters tell everybody off the terminal; errors still rise."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow progress marks, advice and warnings of the Python code in the block.

    For one thread at start-up or export: output, warnings and logging belong to the process.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    silence = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def mute() -> Iterator[None]:
    """Swallow what the compiled code in the block prints; as for :func:`quiet`."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
