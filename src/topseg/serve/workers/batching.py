"""Batching: a bounded queue in which requests of one shape class become batches.

Nothing waits without bound: what does not fit is refused at once, what is late is answered as late,
and what its client no longer wants leaves the queue. A free worker takes the oldest request and all
others of its class, so batches form by themselves while workers are busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from topseg.core.geometry import Size
from topseg.serve.refusal import Refusal, queue_full, too_late

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(eq=False)
class Job(Generic[Task, Answer]):
    """One request in the queue.

    Attributes:
        task: What a worker gets.
        shape: Its class: only equals become one batch.
        images: Images in it.
        answer: Where the answer is awaited.
        entered: When it came (``time.monotonic``).
    """

    task: Task
    shape: Size
    images: int
    answer: asyncio.Future[Answer]
    entered: float = field(default_factory=time.monotonic)

    @property
    def pixels(self) -> int:
        """Network pixels in it."""
        return self.images * math.prod(self.shape)

    def finish(self, answer: Answer) -> None:
        """Answer, if the answer is still wanted."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Answer by an error, if an answer is still wanted."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Mortal(Protocol):
    """What may die while it waits for work."""

    @property
    def alive(self) -> bool:
        """Whether it lives."""
        ...


class Batcher(Generic[Task, Answer]):
    """The queue of one model, from many clients to several workers.

    Attributes:
        max_batch: Images in a batch; a larger request goes alone.
    """

    def __init__(
        self,
        *,
        capacity: int,
        max_batch: int = 1,
        max_pixels: int | None = None,
        max_wait: float = 0.0,
        workers: int = 1,
    ) -> None:
        """Make an empty queue.

        Args:
            capacity: Requests that may wait.
            max_batch: Images in a batch.
            max_pixels: Network pixels in a batch; None: any number.
            max_wait: Seconds that the oldest request may be kept back for others to join it.
            workers: How many take from the queue, for the estimate in Retry-After.
        """
        self._capacity = capacity
        self.max_batch = max_batch
        self._max_pixels = max_pixels or math.inf
        self._max_wait = max_wait
        self._workers = workers
        self._jobs: deque[Job[Task, Answer]] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._seconds = 0.05
        """Moving average of a worker's time for a request."""

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def closed(self) -> bool:
        """Whether it takes nothing more."""
        return self._closed

    async def submit(self, task: Task, shape: Size, *, seconds: float, images: int = 1) -> Answer:
        """Wait for the answer to a task.

        Args:
            task: What the worker gets.
            shape: (height, width) of the network's input.
            seconds: Until its deadline.
            images: Images in it.

        Raises:
            Refusal: The queue is full, or the deadline passed.
            asyncio.CancelledError: The caller gave up; the task leaves the queue, if still there.
        """
        if len(self._jobs) >= self._capacity or self._closed:
            raise queue_full(len(self._jobs), self.retry_after())
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        job = Job(task, shape, images, answer)
        self._jobs.append(job)
        self.wake()
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise too_late(seconds) from None
        finally:
            answer.cancel()
            if job in self._jobs:
                self._jobs.remove(job)

    async def take(
        self, seconds: float | None = None, waiter: Mortal | None = None
    ) -> list[Job[Task, Answer]]:
        """Wait for the next batch.

        Args:
            seconds: How long; None: for ever.
            waiter: Who will answer; when it dies, :meth:`wake` is to be called.

        Returns:
            Jobs of one shape class, the oldest first; empty when the queue is closed and done, when
            nothing came in time, or when the waiter died.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            if waiter is not None and not waiter.alive:
                return []
            if not self._jobs:
                left = None if until is None else until - time.monotonic()
                if self._closed or (left is not None and left <= 0):
                    return []
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), left)
                continue
            batch = self._batch()
            left = batch[0].entered + self._max_wait - time.monotonic()
            if left <= 0 or self._closed or self._is_full(batch):
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        for job in batch:
            self._jobs.remove(job)
        return batch

    def done(self, batch: list[Job[Task, Answer]], seconds: float) -> None:
        """Learn from a batch how long a worker takes."""
        self._seconds += 0.1 * (seconds / len(batch) - self._seconds)

    def retry_after(self) -> int:
        """Estimate the seconds until the queue of now has been worked off."""
        return max(1, math.ceil(len(self._jobs) * self._seconds / self._workers))

    def wake(self) -> None:
        """Make everybody who waits for a batch look again."""
        self._changed.set()
        self._changed.clear()

    def close(self) -> None:
        """Accept nothing more; what waits is still given to the workers."""
        self._closed = True
        self.wake()

    def refuse(self, refusal: Callable[[], Refusal]) -> None:
        """Answer everything that waits by an error."""
        for job in self._jobs:
            job.fail(refusal())
        self._jobs.clear()

    def _batch(self) -> list[Job[Task, Answer]]:
        """The oldest job, and those of its class that fit beside it."""
        oldest = self._jobs[0]
        batch, images, pixels = [oldest], oldest.images, oldest.pixels
        for job in list(self._jobs)[1:]:
            fits = images + job.images <= self.max_batch
            if job.shape == oldest.shape and fits and pixels + job.pixels <= self._max_pixels:
                batch.append(job)
                images, pixels = images + job.images, pixels + job.pixels
        return batch

    def _is_full(self, batch: list[Job[Task, Answer]]) -> bool:
        pixels = sum(job.pixels for job in batch) + batch[0].pixels // batch[0].images
        return sum(job.images for job in batch) >= self.max_batch or pixels > self._max_pixels
