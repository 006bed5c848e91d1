"""Meter: how fast a run is and what it waits for."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator

import torch


class Meter:
    """Adds up time between two readings; evaluations and checkpoints are left out."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._wait = self._work = 0.0
        self._images = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting for data."""
        start = time.perf_counter()
        yield
        self._wait += time.perf_counter() - start

    @contextlib.contextmanager
    def working(self, images: int) -> Iterator[None]:
        """Count the block as a step on so many images."""
        start = time.perf_counter()
        yield
        self._work += time.perf_counter() - start
        self._images += images

    def read(self) -> dict[str, float]:
        """Return the figures since the last reading: images/s, share of waiting, peak memory."""
        seconds = self._wait + self._work
        figures = {
            "images_per_s": self._images / seconds,
            "data_wait": self._wait / seconds,
            "memory_mb": peak_memory() / 2**20,
        }
        self._reset()
        return figures


def peak_memory() -> float:
    """Peak bytes of this process: of GPU memory where it uses a GPU, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return math.nan
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
