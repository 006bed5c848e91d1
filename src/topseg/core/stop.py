"""Stop: a signal asks long work to finish what it is at, save and leave.

Ctrl-C, SIGTERM (``kill``, Kubernetes) and SIGUSR1 (schedulers such as Slurm, ahead of the time
limit). The exit code is 128 plus the signal's number, as in a shell: 130 after Ctrl-C, 143 after
SIGTERM. A second Ctrl-C stops at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last one is not known on Windows


class StopSignal:
    """Remembers that a signal came, while its block runs.

    Attributes:
        code: The exit code; 0 as long as nothing asked to stop.
    """

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        """Nothing is caught before the block begins.

        Args:
            then: Called when a signal came, to wake what waits.
        """
        self.code = 0
        self._then = then
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.code and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.code = 128 + number
        if self._then:
            self._then()


def ignore_signals() -> None:
    """Leave stopping to the parent: signals sent to a whole process group reach workers too."""
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
