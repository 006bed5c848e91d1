"""Prediction over videos: every frame gets its mask laid over it, in time with the sound.

One thread reads and decodes while another runs the network and encodes; a file waits for the slower
of them. A live source does not wait: the newest frame takes the place of one not begun yet, which
counts as dropped. Frames are held few at a time, so memory is flat however long the video is.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError, UnreadableError
from topseg.core.files import atomic_path
from topseg.core.stop import StopSignal
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Logits
from topseg.media import drawing
from topseg.media.drawing import Share
from topseg.media.video import VideoReader, VideoWriter, container_for, shown, to_image

Item = tuple[int | None, Any, float]
_HELD = 8  # items between the two threads
_SUFFIXES = {"mp4": ".mp4", "matroska": ".mkv"}


@dataclass
class VideoReport:
    """How prediction over one video goes, or went.

    Attributes:
        source: The video, without a password.
        every: One frame in so many is taken.
        smooth: Weight of the past in the mean of the logits; 0: off.
        frames: Frames written.
        dropped: Frames of a live source that came too fast.
        damaged: Packets of pictures that came damaged.
        latency: Seconds from a frame's arrival to its encoding, summed over all frames.
        worst: The largest of them.
        pixels: (K,) pixels of each class over all frames.
        start: When it began (``time.perf_counter``).
        code: 0, or 128 plus the number of the signal that stopped it.
        fault: Why the video ended early; None: it did not.
    """

    source: str
    every: int
    smooth: float
    pixels: NDArray[np.int64] = field(repr=False)
    frames: int = 0
    dropped: int = 0
    damaged: int = 0
    latency: float = 0.0
    worst: float = 0.0
    start: float = field(default_factory=time.perf_counter)
    code: int = 0
    fault: str | None = None

    @property
    def settings(self) -> str:
        """What is not as by default: for the report and the file's metadata."""
        parts = [f"every {self.every}"] if self.every > 1 else []
        parts += [f"smooth {self.smooth:g}"] if self.smooth else []
        return ", ".join(parts)

    def __str__(self) -> str:
        """One line: frames, frames/s, dropped, damaged, latency, settings."""
        seconds, frames = max(time.perf_counter() - self.start, 1e-9), max(self.frames, 1)
        parts = [
            f"{self.source}: {self.frames} frames in {seconds:.1f} s",
            f"{self.frames / seconds:.1f} frames/s",
            f"{self.dropped} dropped",
            f"latency {1000 * self.latency / frames:.0f} ms (worst {1000 * self.worst:.0f})",
        ]
        parts += [f"{self.damaged} damaged packets"] if self.damaged else []
        parts += [self.settings] if self.settings else []
        return ", ".join(parts)


def predict_videos(
    predictor: Predictor,
    sources: Sequence[str],
    out: Path,
    *,
    every: int = 1,
    smooth: float = 0.0,
    masks: bool = False,
    report: Callable[[VideoReport], None] | None = None,
    interval: float = 5.0,
) -> tuple[tuple[Share, ...], int]:
    """Write an overlay video for every video: ``clip.mp4`` -> ``out/clip_overlay.mp4``.

    The sound is copied bit by bit, in mp4 where that can hold it and else in mkv. Ctrl-C and
    SIGTERM finish the file and stop.

    Args:
        predictor: The model; it takes three channels.
        sources: Files, addresses such as ``rtsp://...``, or ``webcam:0``.
        out: Folder for the videos.
        every: Take one frame in so many; the others are left out.
        smooth: Weight of the past in an exponential mean of the logits, 0 (off) to below 1.
        masks: Write each frame's mask as well, ``out/clip_masks/000000.png`` by number.
        report: Called at intervals and at the end of each video.
        interval: Seconds between two reports.

    Returns:
        The classes found with their share of all pixels, the largest first; and the exit code: 0,
        or 128 plus the number of the signal that stopped it.

    Raises:
        InputError: Before anything is written: a wrong setting, or two outputs of one name.
        UnreadableError: At the end, all the others being done: one line for each video that could
            not be read to its end; what could be read is written.
        ModuleNotFoundError: PyAV is not installed.
    """
    if predictor.runtime.metadata.architecture.in_channels != 3:
        raise InputError("videos: only for models that take three channels")
    if every < 1:
        raise InputError(f"every: got {every}, expected a whole number above 0")
    if not 0 <= smooth < 1:
        raise InputError(f"smooth: got {smooth}, expected at least 0 (off) and below 1")
    stems = _stems(sources, out)
    pixels, failures, code = np.zeros(predictor.labels.num_classes, np.int64), [], 0
    for source, stem in stems.items():
        state = VideoReport(shown(source), every, smooth, np.zeros_like(pixels))
        try:
            path = _predict(predictor, source, stem, state, masks, report, interval)
            if state.fault:
                have = f"{path} has what could be read, {state.frames} frames"
                raise InputError(f"{state.source}: {state.fault}; {have}")
        except InputError as error:
            failures.append(str(error))
        except ModuleNotFoundError:
            raise
        except Exception as error:  # one video never ends a run
            failures.append(f"{state.source}: {type(error).__name__}: {error}")
        pixels += state.pixels
        if code := state.code:
            break
    if failures:
        raise UnreadableError("\n".join(failures))
    return drawing.shares(pixels, predictor.labels), code


def _predict(
    predictor: Predictor,
    source: str,
    stem: Path,
    state: VideoReport,
    masks: bool,
    report: Callable[[VideoReport], None] | None,
    interval: float,
) -> Path:
    """Write the overlay of one video, and return its path."""
    reader = VideoReader(source)
    path = stem.with_name(f"{stem.name}_overlay{_SUFFIXES[container_for(reader)]}")
    comment = f"topseg overlay, {state.settings or 'every frame'}"
    box = _Mailbox(reader, state)
    with box, StopSignal(box.stop) as stop, atomic_path(path) as temporary:
        writer, past, told = VideoWriter(temporary, reader, comment), None, state.start
        for number, item, arrived in box:
            if stop.code:
                break
            if number is None:  # sound
                writer.copy(item)
                continue
            inputs = predictor.prepare(to_image(item))
            past = _blend(past, predictor.run(inputs), state.smooth)
            prediction = predictor.finish(past, inputs.size)
            writer.write(prediction.overlay(inputs.pixels), item)
            if masks:
                prediction.save(stem.with_name(f"{stem.name}_masks") / f"{number:06d}.png")
            # The report.
            now = time.perf_counter()
            state.frames += 1
            state.latency += now - arrived
            state.worst = max(state.worst, now - arrived)
            state.pixels += drawing.count_pixels(prediction.mask, predictor.labels)
            state.damaged = reader.damaged
            if report and now - told >= interval:
                told = now
                report(state)
        # The end: of the video, by a fault, or by a signal.
        state.fault, state.damaged = reader.fault, reader.damaged
        state.code = stop.code
        if state.code and not state.frames:
            raise KeyboardInterrupt
        if not state.frames:
            raise InputError(f"{state.source}: no frame could be read ({state.fault or 'empty'})")
        writer.close()
    if report:
        report(state)
    return path


class _Mailbox:
    """What one thread reads, for another to take: (number of the frame, frame, its arrival).

    Sound has no number. With a file the reading thread waits where much is held; with a live source
    the newest frame replaces one that was not taken yet.
    """

    def __init__(self, reader: VideoReader, state: VideoReport) -> None:
        self.state = state
        self._reader = reader
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Mailbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(timeout=1)
        if not self._thread.is_alive():  # else a dead stream holds it; it ends with the process
            self._reader.close()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._stopped)
                if self._error:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def stop(self) -> None:
        """End the iteration after what is held, and reading at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _read(self) -> None:
        number = -1
        try:
            for item in self._reader:
                sound = not hasattr(item, "planes")
                number += not sound
                if sound or number % self.state.every == 0:
                    self._put((None if sound else number, item, time.perf_counter()))
                if self._stopped:
                    return
        except BaseException as error:
            self._error = error
        finally:
            self.stop()

    def _put(self, item: Item) -> None:
        with self._changed:
            if not self._reader.live:
                self._changed.wait_for(lambda: len(self._items) < _HELD or self._stopped)
            elif item[0] is not None:
                kept = [held for held in self._items if held[0] is None]
                self.state.dropped += len(self._items) - len(kept)
                self._items = deque(kept)
            self._items.append(item)
            self._changed.notify_all()


def _blend(past: Logits | None, logits: Logits, smooth: float) -> Logits:
    """The exponential mean of logits over time; a new picture size begins a new one."""
    if not smooth or past is None or past.shape != logits.shape:
        return logits
    return np.asarray(smooth * past + (1 - smooth) * logits, np.float32)


def _stems(sources: Sequence[str], out: Path) -> dict[str, Path]:
    """Return each video's output path without its ending.

    Raises:
        InputError: Two videos would have the same, or one would be overwritten.
    """
    stems: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for source in dict.fromkeys(sources):
        file = "://" not in source and not source.startswith("webcam:")
        address = shown(source).partition("://")[2] or source
        stem = stems[source] = out / (Path(source).stem if file else re.sub(r"\W+", "_", address))
        if (other := owners.setdefault(stem, source)) != source:
            raise InputError(
                f"{stem}_overlay: would be written for both {shown(other)} and {shown(source)}; "
                "rename one, or predict them into different folders"
            )
    for stem in owners:
        for suffix in _SUFFIXES.values():
            target = stem.with_name(f"{stem.name}_overlay{suffix}")
            if target.resolve() in {Path(source).resolve() for source in stems}:
                raise InputError(
                    f"{target}: would overwrite a video that was given; choose another --out"
                )
    return stems
