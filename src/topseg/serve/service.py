"""Service: the models being served, whatever protocol asks for them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes.registry import open_runtime
from topseg.serve.config import ServeConfig
from topseg.serve.header import check_header
from topseg.serve.memory import Memory
from topseg.serve.metrics import Metrics
from topseg.serve.model import Model
from topseg.serve.refusal import Refusal, shown, too_large
from topseg.serve.workers.worker import Opener, Worker, WorkerPlan

if TYPE_CHECKING:
    from topseg.serve.workers.pipeline import Answer, Segment, Tensors

log = logging.getLogger("topseg.serve")

T = TypeVar("T")
Finder = Callable[[str], Bundle]

CODECS: Final = 2
"""Large bodies that are unpacked, parsed or written at once."""


class Service:
    """What the REST and gRPC sides share.

    Attributes:
        config: Limits.
        metrics: What is counted.
        models: By name, the first being the default.
        draining: Whether the service is on its way out.
        memory: What requests hold, all together.
    """

    def __init__(
        self, config: ServeConfig, find: Finder, open_engine: Opener | None = None
    ) -> None:
        """Read every model's bundle.

        Args:
            config: Limits.
            find: MODEL -> bundle.
            open_engine: Bundle -> runtime, picklable, for it is called in the workers; None opens
                what the configuration names.

        Raises:
            InputError: A model cannot be found.
        """
        self.config = config
        self.metrics = Metrics()
        self.draining = False
        self._find = find
        self._open = open_engine or functools.partial(
            open_runtime, name=config.runtime, device=config.device, threads=config.threads
        )
        self.memory = Memory(config.max_held_bytes)
        self._codecs = asyncio.Semaphore(CODECS)
        self._reloading = asyncio.Lock()
        self.models = {
            name: self._model(name, find(model)) for name, model in config.models.items()
        }
        self.metrics.watch(self.models)
        self.metrics.held.set_function(lambda: self.memory.held)

    @property
    def ready(self) -> bool:
        """Whether every model's network has been warmed up, and the service is to stay."""
        return not self.draining and all(model.ready for model in self.models.values())

    async def start(self) -> None:
        """Start the workers.

        Raises:
            InputError: An engine cannot be opened.
        """
        async with self._reloading:  # a reload meanwhile would close what has not been started
            for model in self.models.values():
                await model.start()
        log.info("ready", extra={"fields": {"models": list(self.models)}})

    async def reload(self) -> None:
        """Open every model anew, and change over once its workers are warm; nothing is dropped.

        A model that cannot be opened stays as it was.
        """
        async with self._reloading:
            for name, old in list(self.models.items()):
                try:
                    bundle = await asyncio.to_thread(self._find, self.config.models[name])
                    new = self._model(name, bundle)
                    await new.start()
                except Exception as error:
                    fields = {"model": name, "error": str(error)}
                    log.error("not reloaded", extra={"fields": fields})
                else:
                    self.models[name] = new
                    await old.close()
                    log.info("reloaded", extra={"fields": {"model": name}})

    async def close(self) -> None:
        """Answer what waits and end the workers."""
        await asyncio.gather(*(model.close() for model in self.models.values()))

    def model(self, name: str | None = None, version: str | None = None) -> Model:
        """Find a model.

        Args:
            name: As in the configuration; None: the first one.
            version: "1" or none: every model has one version.

        Raises:
            Refusal: There is none.
        """
        name = name or next(iter(self.models))
        if name not in self.models:
            known = ", ".join(self.models)
            raise Refusal(404, f"no model {shown(name)} here, known: {known}", reason="no_model")
        if version not in (None, "", "1"):
            raise Refusal(404, f"model '{name}' has only version 1", reason="no_model")
        return self.models[name]

    async def segment(self, name: str | None, task: Segment, seconds: float | None) -> Answer:
        """Make a mask of an image file.

        Args:
            name: The model.
            task: The file, and what to answer with.
            seconds: Until the deadline; None: the service's own.

        Raises:
            Refusal: See :meth:`Model.submit`.
            InputError: What is wrong with the image.
        """
        size = check_header(task.data, self.config.max_pixels)
        model = self.model(name)
        shape = model.bundle.metadata.resize.network_size(size)
        return await model.submit(task, shape, seconds=self._seconds(seconds))

    async def infer(self, model: Model, task: Tensors, seconds: float | None) -> Answer:
        """Run a network on images of its size; as :meth:`segment`."""
        count, height, width = task.images.shape[:3]
        if count * height * width > self.config.max_batch_pixels:
            raise too_large(
                f"images: {count}x{height}x{width} pixels", f"{self.config.max_batch_pixels} in all"
            )
        return await model.submit(
            task, (height, width), seconds=self._seconds(seconds), images=count
        )

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Read or write a large body beside the event loop, few at a time for memory's sake."""
        async with self._codecs:
            return await asyncio.to_thread(function, *arguments)

    def _seconds(self, asked: float | None) -> float:
        longest = self.config.deadline_s
        if asked is None:
            return longest
        if not asked > 0:
            raise InputError(f"timeout: got {asked:g}, expected more than 0")
        return min(asked, longest)

    def _model(self, name: str, bundle: Bundle) -> Model:
        plan = WorkerPlan(
            bundle,
            self._open,
            self.config.max_batch,
            self.config.threads,
            self.config.max_pixels,
        )
        return Model(name, bundle, functools.partial(Worker, plan), self.config, self.metrics)
