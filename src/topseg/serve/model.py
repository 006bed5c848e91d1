"""Model: one bundle being served, by a queue and the workers behind it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.serve.config import ServeConfig
from topseg.serve.metrics import Metrics
from topseg.serve.refusal import Refusal, not_ready
from topseg.serve.workers.batching import Batcher, Job
from topseg.serve.workers.worker import Worker, WorkerLost

if TYPE_CHECKING:
    from topseg.serve.workers.pipeline import Answer, Task

log = logging.getLogger("topseg.serve")

IDLE_SECONDS = 5.0
"""How long a worker may be idle before it is asked whether it is there."""
ANSWER_SECONDS = 5.0
"""How long it may take to answer that."""


class Model:
    """A queue, and as many loops as there are workers, each feeding its own.

    Attributes:
        name: Its name in addresses.
        bundle: What is served.
        labels: Label values of its metrics.
    """

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        start_worker: Callable[[], Worker],
        config: ServeConfig,
        metrics: Metrics,
    ) -> None:
        """Prepare a model; nothing runs before :meth:`start`.

        Args:
            name: Its name in addresses.
            bundle: What is served.
            start_worker: Starts a worker (blocking).
            config: Limits.
            metrics: What is counted.
        """
        self.name = name
        self.bundle = bundle
        self._start_worker = start_worker
        self._config = config
        self._metrics = metrics
        self._batcher: Batcher[Task, Answer] = Batcher(
            capacity=config.queue,
            max_batch=config.max_batch,
            max_pixels=config.max_batch_pixels,
            max_wait=config.max_wait_ms / 1000,
            workers=config.worker_count,
        )
        self._threads = ThreadPoolExecutor(config.worker_count, f"{name}-worker")
        self._workers: set[Worker] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._open = False
        """Whether requests are taken: also while a dead worker's successor starts."""

    @property
    def ready(self) -> bool:
        """Whether a worker runs whose network has been warmed up."""
        return bool(self.workers)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._batcher)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that run."""
        return tuple(worker for worker in self._workers if worker.alive)

    async def start(self) -> None:
        """Start every worker and wait until each has run once.

        Raises:
            InputError: The engine cannot be opened, or its process dies of it.
        """
        count = self._config.worker_count
        started = await asyncio.gather(
            *(self._in_thread(self._start_worker) for _ in range(count)), return_exceptions=True
        )
        failed = [result for result in started if isinstance(result, BaseException)]
        self._workers |= {worker for worker in started if not isinstance(worker, BaseException)}
        if failed:
            await self.close()
            if isinstance(failed[0], WorkerLost):
                raise InputError(f"model '{self.name}': {failed[0]} while it started")
            raise failed[0]
        for worker in self._workers:
            self._watch(worker)
        self._batcher.max_batch = min(worker.max_batch for worker in self._workers)
        if self._batcher.max_batch < self._config.max_batch:
            fields = {"model": self.name, "max_batch": self._batcher.max_batch}
            log.warning(
                "no batches: they would change this engine's answers", extra={"fields": fields}
            )
        self._loops = [asyncio.create_task(self._serve(worker)) for worker in self._workers]
        self._open = True

    async def submit(self, task: Task, shape: Size, *, seconds: float, images: int = 1) -> Answer:
        """Get the answer to a task.

        Args:
            task: What to do.
            shape: (height, width) of the network's input.
            seconds: Until its deadline.
            images: Images in it.

        Raises:
            Refusal: Not ready, too much to do, too late, or the worker died of it.
            InputError: What is wrong with the task.
        """
        if not self._open:
            raise not_ready(self.name)
        entered = time.perf_counter()
        answer = await self._batcher.submit(task, shape, seconds=seconds, images=images)
        total = time.perf_counter() - entered
        if answer.fault:
            log.error("task failed", extra={"fields": {"model": self.name, "error": answer.error}})
            raise Refusal(500, answer.error, reason="fault")
        if answer.error:
            raise InputError(answer.error)
        answer.stages = {"queue": max(0.0, total - sum(answer.stages.values())), **answer.stages}
        for stage, spent in answer.stages.items():
            self._metrics.stages.labels(self.name, stage).observe(spent)
        return answer

    async def close(self) -> None:
        """Accept no more, answer what waits, end the workers."""
        self._batcher.close()
        if not self._open:  # nobody is there who could answer
            for loop in self._loops:
                loop.cancel()
            self._batcher.refuse(lambda: not_ready(self.name))
        await asyncio.gather(*self._loops, return_exceptions=True)
        for worker in self._workers:
            asyncio.get_running_loop().remove_reader(worker.sentinel)
        await asyncio.gather(*(self._in_thread(worker.close) for worker in self._workers))
        self._workers.clear()
        self._threads.shutdown(wait=False)

    async def _serve(self, worker: Worker) -> None:
        """Feed one worker, and its successor when it dies or hangs."""
        while True:
            batch = await self._batcher.take(IDLE_SECONDS, worker)
            if not batch and self._batcher.closed and not self.waiting:
                return
            try:
                if not worker.alive:  # it died while there was nothing to do, so not of these
                    worker = await self._replace(worker)
                if batch:
                    await self._answer(batch, worker)
                else:  # a process that is stopped is alive, but does not answer
                    await self._call(worker, [], min(ANSWER_SECONDS, self._config.worker_seconds))
            except WorkerLost as lost:
                for job in batch:
                    job.fail(Refusal(500, f"{lost}; try again", reason="worker_lost"))
                worker = await self._replace(worker)
            finally:
                for job in batch:
                    job.fail(not_ready(self.name))  # only those that have no answer yet

    async def _answer(self, batch: list[Job[Task, Answer]], worker: Worker) -> None:
        tasks, start = [job.task for job in batch], time.perf_counter()
        answers = await self._call(worker, tasks, self._config.worker_seconds)
        self._batcher.done(batch, time.perf_counter() - start)
        self._metrics.batches.labels(self.name).observe(answers[0].batch)
        for job, answer in zip(batch, answers, strict=True):
            job.finish(answer)

    async def _call(self, worker: Worker, tasks: list[Task], seconds: float) -> list[Answer]:
        """Return a worker's answers; one that takes longer is killed, whatever it hangs in.

        Raises:
            WorkerLost: It died or was killed.
        """
        late = asyncio.get_running_loop().call_later(seconds, worker.kill)
        try:
            answers: list[Answer] = await self._in_thread(worker, tasks)
        except WorkerLost:
            if late.when() <= asyncio.get_running_loop().time():
                message = f"the worker process did not answer within {seconds:g} s"
                raise WorkerLost(message) from None
            raise
        finally:
            late.cancel()
        return answers

    def _watch(self, worker: Worker) -> None:
        """Look again as soon as a worker's process ends, busy or not."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(worker.sentinel)
            self._batcher.wake()

        loop.add_reader(worker.sentinel, ended)

    async def _replace(self, worker: Worker) -> Worker:
        """Start another worker in a dead one's place, however often it takes.

        Raises:
            InputError, WorkerLost: It does not start, and the model is to close anyway.
        """
        self._workers.discard(worker)
        asyncio.get_running_loop().remove_reader(worker.sentinel)
        log.error("worker lost", extra={"fields": {"model": self.name, "pid": worker.pid}})
        await self._in_thread(worker.close)
        for pause in itertools.chain((0.1, 1.0, 5.0), itertools.repeat(30.0)):
            self._metrics.restarts.labels(self.name).inc()
            try:
                worker = await self._in_thread(self._start_worker)
                break
            except (InputError, WorkerLost) as error:
                if not self.workers:
                    self._open = False
                    self._batcher.refuse(lambda: not_ready(self.name))
                fields = {"model": self.name, "error": str(error), "again_in_s": pause}
                log.error("worker does not start", extra={"fields": fields})
                if self._batcher.closed:
                    raise
                await asyncio.sleep(pause)
        self._open = True
        self._workers.add(worker)
        self._watch(worker)
        return worker

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
