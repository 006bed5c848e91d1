"""A network that needs no weights, a bundle of it, and a server of it in a process of its own.

python fakes.py MODEL ...      is `topseg serve MODEL ...` with the fake network
"""

import functools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, Architecture, Metadata
from topseg.cli import main
from topseg.core.geometry import ResizeRule
from topseg.runtimes.base import check_images
from topseg.serve import run
from topseg.serve.workers.pipeline import Answer, Pipeline, Task
from topseg.serve.workers.worker import WorkerPlan

DEADLY = (7, 77, 177)
"""An image that begins with this pixel ends the process that sees it."""


class ColorRuntime:
    """Maps each 8x8 block to its mean red, green and blue as logits."""

    engine = "colors"

    def __init__(self, bundle: Bundle) -> None:
        self.metadata = bundle.metadata
        self.fixed_size: tuple[int, int] | None = None
        self.seen: list[int] = []

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        check_images(images, self.metadata)
        self.seen.append(len(images))
        if (images[:, 0, 0] == DEADLY).all(axis=-1).any():
            os._exit(3)
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
        count, height, width, _ = images.shape
        blocks = images.reshape(count, height // 8, 8, width // 8, 8, 3).mean(axis=(2, 4))
        return np.ascontiguousarray(blocks.transpose(0, 3, 1, 2), np.float32)


class LocalWorker:
    """A worker in this process."""

    pid = 0
    alive = True

    def __init__(self, plan: WorkerPlan) -> None:
        self.pipeline = Pipeline(plan.open(plan.bundle), max_batch=plan.max_batch)
        self.max_batch = self.pipeline.max_batch

        self.sentinel, self._end = os.pipe()

    def __call__(self, tasks: Sequence[Task]) -> list[Answer]:
        return self.pipeline(tasks)

    def kill(self) -> None:
        raise AssertionError("a thread cannot be killed")

    def close(self) -> None:
        self.alive = False
        os.close(self.sentinel)
        os.close(self._end)


def make_bundle(folder: Path, names: Sequence[str] = ("red", "green", "blue")) -> Bundle:
    """Write a bundle that has no real weights."""
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"none")
    architecture = Architecture(name="fake", num_classes=3, in_channels=3)
    metadata = Metadata(
        architecture=architecture,
        classes=tuple(names),
        palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
        resize=ResizeRule(short_side=64, max_long_side=256, multiple=32),
    )
    return write_metadata(folder, metadata)


FAKE = (sys.executable, __file__)
REAL = (sys.executable, "-m", "topseg", "serve")


class Server:
    """A running server, whose log is read all the time."""

    def __init__(self, folder: Path, *overrides: str, program: Sequence[str] = FAKE) -> None:
        given = ("port=0", "grpc_port=0", "workers=1", "drain_delay_s=0.2", *overrides)
        command = [*program, f"fake={folder}", *(f"--set={setting}" for setting in given)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.lines: list[dict[str, Any]] = []
        self._unseen: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._words = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        about = self.until("listening")
        self.port, self.rpc_port = about["port"], about["grpc_port"]

    def until(self, event: str) -> dict[str, Any]:
        """Wait for an event in the log that was not waited for before."""
        while (line := self._unseen.get(timeout=60)) is not None:
            if line["event"] == event:
                return line
        self.process.wait(20)
        raise AssertionError(f"ended without '{event}': {self._words}")

    def stop(self) -> int:
        """Wait for the end, and give the exit code."""
        self._reader.join(60)
        return self.process.wait(20)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as log:
            for line in log:
                if line.startswith("{"):
                    self.lines.append(json.loads(line))
                    self._unseen.put(self.lines[-1])
                else:
                    self._words += line  # a traceback
        self._unseen.put(None)


@contextmanager
def running(folder: Path, *overrides: str, program: Sequence[str] = FAKE) -> Iterator[Server]:
    """Serve until the block ends."""
    server = Server(folder, *overrides, program=program)
    try:
        server.until("ready")
        yield server
    finally:
        server.process.terminate()
        code = server.stop()
    assert code == 0, server.lines[-5:]


if __name__ == "__main__":
    run.serve = functools.partial(run.serve, open_engine=ColorRuntime)
    sys.exit(main(["serve", *sys.argv[1:]]))
