"""Pipeline: what one worker does with a batch of tasks, from bytes to bytes.

The steps are a Predictor's (prepare, run, finish), so the answers are the same. Only the network
sees several tasks at once, and only where that does not change a bit of its answer.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import Mask
from topseg.inference.predictor import Inputs, Predictor
from topseg.inference.tta import Logits
from topseg.inference.upsample import upsample_argmax
from topseg.media import drawing
from topseg.media.images import MOST_PIXELS, decode_image
from topseg.media.regions import Shapes, describe
from topseg.runtimes.base import Runtime
from topseg.serve.numbers import Numbers

Output = Literal["mask", "overlay", "color", "json"]
CONTENT_TYPES: dict[Output, str] = {
    "mask": "image/png",
    "overlay": "image/jpeg",
    "color": "image/png",
    "json": "application/json",
}


@dataclass(frozen=True)
class Segment:
    """An image file to make a mask of.

    Attributes:
        data: The file.
        output: What to answer with.
        alpha: How much of the colour an overlay has, 0..1.
        shapes: How JSON describes where a class is.
    """

    data: bytes
    output: Output = "mask"
    alpha: float = 0.5
    shapes: Shapes = "rle"


@dataclass(frozen=True)
class Tensors:
    """Images of the network's size to run it on.

    Attributes:
        images: (B, H, W, C), or the text of such a tensor.
        outputs: Names of what to answer with, "logits" or "masks".
    """

    images: NDArray[np.uint8] | Numbers
    outputs: tuple[str, ...]


Task = Segment | Tensors


@dataclass
class Answer:
    """What a worker answers.

    Attributes:
        body: A file's content, for a :class:`Segment`.
        tensors: Arrays by name, for :class:`Tensors`.
        error: What is wrong with the task, if something is.
        fault: Whether that is this program's fault.
        batch: Images that the network had at once.
        stages: Seconds by stage.
    """

    body: bytes = b""
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: str = ""
    fault: bool = False
    batch: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of a stage."""
        start = time.perf_counter()
        yield
        self.stages[name] = time.perf_counter() - start

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn an exception into the answer."""
        try:
            yield
        except InputError as error:
            self.error = str(error)
        except Exception as error:
            self.error, self.fault = f"internal error: {type(error).__name__}: {error}", True


@dataclass
class _Work:
    """A task in progress."""

    task: Task
    answer: Answer
    image: Inputs | None = None
    """Of a :class:`Segment`."""
    arrays: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    """(B, h, w, C) as the network takes them."""
    logits: Logits = field(default_factory=lambda: np.empty(0, np.float32))


class Pipeline:
    """A runtime with everything around it.

    Attributes:
        max_batch: Images that the network gets at once.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_batch: int = 1,
        threads: int = 1,
        max_pixels: int = MOST_PIXELS,
    ) -> None:
        """Wrap a runtime and warm it up.

        Args:
            runtime: The engine.
            max_batch: Images that the network may get at once; it gets one, if this engine's
                answers depend on what else is in a batch.
            threads: CPU threads of the tail.
            max_pixels: Pixels of an image beyond which it is not decoded.
        """
        self._runtime = runtime
        self._max_pixels = max_pixels
        self._predictor = Predictor(runtime, threads=threads)
        self._metadata = runtime.metadata
        self.max_batch = max_batch if self._is_exact(max_batch) else 1

    def __call__(self, tasks: Sequence[Task]) -> list[Answer]:
        """Answer every task of a batch; what is wrong with one does not touch the others."""
        works = [_Work(task, Answer()) for task in tasks]
        groups: dict[Size, list[_Work]] = defaultdict(list)
        for work in works:
            with work.answer.guard():
                self._prepare(work)
                groups[work.arrays.shape[1], work.arrays.shape[2]].append(work)
        for group in groups.values():
            self._run(group)
        for work in works:
            if not work.answer.error:
                with work.answer.guard():
                    self._finish(work)
        return [work.answer for work in works]

    def _prepare(self, work: _Work) -> None:
        """Make the network's input of an image file."""
        if isinstance(work.task, Tensors):
            images = work.task.images
            work.arrays = images.array() if isinstance(images, Numbers) else images
            return
        metadata, stage = self._metadata, work.answer.stage
        with stage("decode"):
            channels, scale = metadata.architecture.in_channels, metadata.input.scale
            pixels = decode_image(
                work.task.data, "image", channels, scale, most_pixels=self._max_pixels
            )
        with stage("resize"):
            work.image = self._predictor.prepare(pixels)
            work.arrays = work.image.arrays[0][None]

    def _run(self, group: list[_Work]) -> None:
        """Run the network on inputs of one size, as many at once as it may have."""
        images = [image for work in group for image in work.arrays]
        start, logits = time.perf_counter(), []
        failed = Answer()
        with failed.guard():
            for first in range(0, len(images), self.max_batch):
                logits += list(self._runtime(np.stack(images[first : first + self.max_batch])))
        seconds, at = time.perf_counter() - start, 0
        for work in group:
            work.answer.error, work.answer.fault = failed.error, failed.fault
            work.answer.stages["network"] = seconds
            work.answer.batch = min(len(images), self.max_batch)
            if not failed.error:
                work.logits = np.stack(logits[at : at + len(work.arrays)])
                at += len(work.arrays)

    def _finish(self, work: _Work) -> None:
        """Make of the logits what was asked for."""
        task, answer = work.task, work.answer
        if isinstance(task, Segment):
            assert work.image is not None
            with answer.stage("tail"):
                mask = self._predictor.finish(work.logits[0], work.image.size).mask
            with answer.stage("encode"):
                answer.body = self._encode(task, work.image.pixels, mask)
            return
        if "logits" in task.outputs:
            answer.tensors["logits"] = work.logits
        if "masks" in task.outputs:
            size = (task.images.shape[1], task.images.shape[2])
            with answer.stage("tail"):
                answer.tensors["masks"] = upsample_argmax(
                    work.logits, size, self._predictor.threads
                )

    def _encode(self, task: Segment, image: NDArray[np.uint8], mask: Mask) -> bytes:
        labels = self._metadata.labels
        if task.output == "json":
            return describe(mask, labels, task.shapes)
        if task.output == "color":
            return drawing.picture_png(drawing.colorize(mask, labels))
        if task.output == "overlay":
            picture = drawing.overlay(_rgb(image), mask, labels, task.alpha)
            return drawing.picture_jpeg(picture)
        return drawing.mask_png(mask, labels)

    def _is_exact(self, max_batch: int) -> bool:
        """Run once, and tell whether a batch gives the same bits as one image after the other."""
        channels = self._metadata.architecture.in_channels
        side = self._metadata.resize.short_side or 512
        rng = np.random.default_rng(0)
        size = self._predictor.network_size((side, side))
        shape = (min(max_batch, 2), *size, channels)
        images = rng.integers(0, 256, shape, np.uint8)
        single = np.concatenate([self._runtime(image[None]) for image in images])
        self._predictor.finish(single[0], (side, side))
        return np.array_equal(self._runtime(images), single)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three channels of an image that has one or four."""
    if image.shape[2] == 1:
        return image.repeat(3, axis=2)
    return np.ascontiguousarray(image[:, :, :3])
