"""Worker: a process that runs one pipeline, and the handle by which the server holds it.

Images from outside are decoded and run in a process of their own: when a decoder or an engine dies
of one, the server answers, starts another worker, and lives. This file imports nothing heavy: it is
the server's as well.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from topseg.bundle.bundle import Bundle, read_bundle
from topseg.core.errors import InputError
from topseg.runtimes.base import Runtime

if TYPE_CHECKING:
    from topseg.serve.workers.pipeline import Answer, Task

START_SECONDS = 120.0

Opener = Callable[[Bundle], Runtime]


class WorkerLost(Exception):
    """The process ended, or did not answer in time and was ended."""


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker process is started with (it must be picklable).

    Attributes:
        bundle: The model.
        open: Opens its engine, in the worker's process.
        max_batch: Images that the network gets at once.
        threads: CPU threads of engine and tail.
        max_pixels: Pixels of an image beyond which it is not decoded.
    """

    bundle: Bundle
    open: Opener
    max_batch: int
    threads: int
    max_pixels: int


class Worker:
    """The server's side of one worker process. Every method blocks, so call it from a thread."""

    def __init__(self, plan: WorkerPlan) -> None:
        """Start the process and wait until its network has run once.

        Raises:
            InputError: The engine cannot be opened.
            WorkerLost: The process ended by itself.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_work, args=(theirs, plan), daemon=True)
        self._process.start()
        self._end = weakref.finalize(self, self._process.kill)  # also where nobody calls close
        theirs.close()
        try:
            if not self._connection.poll(START_SECONDS):
                raise WorkerLost(f"the worker process did not start within {START_SECONDS:g} s")
            ready = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            raise WorkerLost("the worker process ended") from None
        except WorkerLost:
            self.close()
            raise
        if isinstance(ready, str):
            self.close()
            raise InputError(ready)
        self.max_batch: int = ready

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when the process ends."""
        return self._process.sentinel

    def __call__(self, tasks: Sequence[Task]) -> list[Answer]:
        """Return the process's answers to a batch, after any time; :meth:`kill` ends the wait.

        Args:
            tasks: What its pipeline gets; none: it answers that it is there.

        Raises:
            WorkerLost: The process ended, of a task or because it was killed.
        """
        try:
            self._connection.send(tasks)
            answers: list[Answer] = self._connection.recv()
        except (EOFError, OSError):
            raise WorkerLost("the worker process ended") from None
        return answers

    def close(self) -> None:
        """End the process: within a second by itself, then by force."""
        self._connection.close()
        self._process.join(1)
        self.kill()
        self._process.join()

    def kill(self) -> None:
        """End the process at once, also one that is stopped or does not read what it is sent."""
        self._end()


def _work(connection: Connection, plan: WorkerPlan) -> None:
    """The process's side: open, say so, answer batches until the server closes the connection."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server decides when a worker ends
        signal.signal(number, signal.SIG_IGN)
    silence = os.open(os.devnull, os.O_WRONLY)  # decoders write of damaged files what is no JSON
    os.dup2(silence, 2)
    from topseg.serve.workers.pipeline import Pipeline

    try:
        if read_bundle(plan.bundle.folder) != plan.bundle:
            raise InputError(f"{plan.bundle.folder}: changed while it was served; reload it")
        pipeline = Pipeline(
            plan.open(plan.bundle),
            max_batch=plan.max_batch,
            threads=plan.threads,
            max_pixels=plan.max_pixels,
        )
    except Exception as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        connection.send(f"{kind}{error}")
        return
    connection.send(pipeline.max_batch)
    while True:
        try:
            tasks = connection.recv()
        except EOFError:
            return
        connection.send(pipeline(tasks))
