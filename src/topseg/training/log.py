"""Log: what a run reports while it trains, to a file for programs and to the screen for people.

``log.jsonl`` has one line a logged step and one an evaluation. A checkpoint notes how long the file
was, and resuming cuts it back to that, so the log of a run that was interrupted reads like that of
one that was not (fields of wall-clock time aside).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from topseg.core.files import write_bytes
from topseg.evaluation.scores import Scores
from topseg.media.drawing import Picture, picture_jpeg
from topseg.training.trackers import Tracker


class Log:
    """The log of one run; in all but the first process it keeps silent.

    Used as a context manager.
    """

    def __init__(
        self,
        run: Path,
        start: int,
        steps: int,
        size: int,
        main: bool,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        """Open the log.

        Args:
            run: The run folder.
            start: Steps done before.
            steps: Steps in all.
            size: Bytes of ``log.jsonl`` to keep; what follows them was not checkpointed.
            main: Whether this is the first process.
            trackers: Receive all of it as well.
        """
        self.main = main
        self.steps = steps
        self.console = Console(quiet=not main, highlight=False, soft_wrap=True)
        self._progress = Progress(
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not (main and self.console.is_terminal),
        )
        self._task = self._progress.add_task("train", total=steps, completed=start, text="")
        self._run, self._trackers = run, trackers
        if not main:
            return
        path = run / "log.jsonl"
        self._file = path.open("ab")
        if self._file.tell() > size:
            self._file.truncate(size)
            self._file.seek(size)  # truncating leaves the position, which flush() returns

    def __enter__(self) -> Log:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self.main:
            self._file.close()
        for tracker in self._trackers:
            tracker.close()

    def say(self, text: str) -> None:
        """Show the user a line."""
        self.console.print(text, markup=False)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log the training: values by name, among them loss, lr, images_per_s, data_wait."""
        if not self.main:
            return
        self._write({"step": step} | {name: _plain(value) for name, value in values.items()})
        text = (
            f"loss {values['loss']:.4f} lr {values['lr']:.2e} "
            f"{values['images_per_s']:.1f} images/s wait {values['data_wait']:.0%} "
            f"{values['memory_mb']:.0f} MB"
        )
        self._progress.update(self._task, completed=step, text=text)
        if self._progress.disable:
            self.say(f"step {step}/{self.steps}  {text}")
        self._plot(step, "train", values)

    def evaluating(self, done: int, total: int) -> None:
        """Show how far an evaluation is."""
        self._progress.update(self._task, text=f"evaluating, {done} of {total} images")

    def scores(self, step: int, scores: Scores, loss: float) -> None:
        """Log an evaluation and its mean loss."""
        if not self.main:
            return
        summary = {"miou": scores.miou, "accuracy": scores.accuracy, "val_loss": loss}
        classes = {name: _plain(v) for name, v in zip(scores.names, scores.iou, strict=True)}
        self._write({"step": step} | {k: _plain(v) for k, v in summary.items()} | {"iou": classes})
        self.say(
            f"step {step}/{self.steps}  mIoU {scores.miou:.4f}  accuracy {scores.accuracy:.4f}  "
            f"loss {loss:.4f}  ({scores.images} images)"
        )
        self._plot(step, "val", summary)

    def picture(self, step: int, name: str, picture: Picture) -> None:
        """Show a picture, (H, W, 3) uint8 RGB, and keep it in ``samples/``."""
        if not self.main:
            return
        path = self._run / "samples" / f"step_{step:08d}" / f"{name}.jpg"
        write_bytes(path, picture_jpeg(picture))
        for tracker in self._trackers:
            tracker.picture(step, f"samples/{name}", picture)

    def flush(self) -> int:
        """Bring the file to the disk; return its length in bytes."""
        if not self.main:
            return 0
        os.fsync(self._file.fileno())
        return self._file.tell()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def _plot(self, step: int, group: str, values: dict[str, float]) -> None:
        for tracker in self._trackers:
            tracker.scalars(step, {f"{group}/{name}": value for name, value in values.items()})


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
