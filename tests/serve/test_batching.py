"""The queue: batches of one shape, bounded, in order, without the late and the unwanted."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from topseg.serve.refusal import Refusal, not_ready
from topseg.serve.workers.batching import Batcher

SMALL, LARGE = (64, 64), (128, 64)

Queue = Batcher[Any, Any]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def put(queue: Queue, task: Any, shape: tuple[int, int] = SMALL, **more: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(queue.submit(task, shape, **{"seconds": 60, **more}))


def test_oldest_and_its_equals_become_a_batch() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=3)
        shapes = [SMALL, LARGE, SMALL, SMALL, SMALL, LARGE]
        waiting = [put(queue, number, shape) for number, shape in enumerate(shapes)]
        await settle()
        taken = [[job.task for job in await queue.take()] for _ in range(3)]
        assert taken == [[0, 2, 3], [1, 5], [4]]
        assert len(queue) == 0
        for task in waiting:
            task.cancel()

    run(test)


def test_answers_reach_who_asked() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=4)
        waiting = [put(queue, number) for number in range(4)]
        await settle()
        for job in await queue.take():
            job.finish(job.task * 10)
        assert await asyncio.gather(*waiting) == [0, 10, 20, 30]

    run(test)


def test_one_failure_is_one_callers() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=2)
        first, second = put(queue, 1), put(queue, 2)
        await settle()
        jobs = await queue.take()
        jobs[0].fail(ValueError("mine"))
        jobs[1].finish("good")
        with pytest.raises(ValueError, match="mine"):
            await first
        assert await second == "good"

    run(test)


def test_batches_are_bounded_by_pixels_and_images() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=4, max_pixels=3 * 64 * 64)
        waiting = [put(queue, n, images=images) for n, images in enumerate((2, 2, 1, 8))]
        await settle()
        taken = [[job.task for job in await queue.take()] for _ in range(3)]
        assert taken == [[0, 2], [1], [3]]  # what is larger than any batch goes alone
        for task in waiting:
            task.cancel()

    run(test)


def test_full_queue_refuses_and_recovers() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=2)
        waiting = [put(queue, 0), put(queue, 1)]
        await settle()
        with pytest.raises(Refusal, match="2 requests are waiting") as refused:
            await queue.submit(2, SMALL, seconds=60)
        assert refused.value.status == 503
        assert refused.value.retry_after is not None
        (await queue.take())[0].finish("answer")
        assert await waiting[0] == "answer"
        third = put(queue, 3)
        await settle()
        assert len(queue) == 2
        waiting[1].cancel()
        third.cancel()

    run(test)


def test_who_gives_up_leaves_the_queue() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9)
        gone, stays = put(queue, "gone"), put(queue, "stays")
        await settle()
        gone.cancel()
        await settle()
        assert len(queue) == 1
        jobs = await queue.take()
        assert [job.task for job in jobs] == ["stays"]
        stays.cancel()
        await settle()
        jobs[0].finish("for nobody")  # who gives up later does no harm either

    run(test)


def test_late_requests_leave_the_queue() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9)
        with pytest.raises(Refusal, match="not answered within") as refused:
            await queue.submit("late", SMALL, seconds=0.001)
        assert refused.value.status == 504
        assert len(queue) == 0

    run(test)


def test_oldest_is_kept_back_until_the_batch_is_full() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=2, max_wait=60)
        first = put(queue, 1)
        taking = asyncio.create_task(queue.take())
        await settle()
        assert not taking.done()
        other = put(queue, 2, LARGE)
        await settle()
        assert not taking.done()
        second = put(queue, 3)
        await settle()
        assert [job.task for job in taking.result()] == [1, 3]
        for task in (first, second, other):
            task.cancel()

    run(test)


def test_oldest_is_not_kept_back_for_longer_than_agreed() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=2, max_wait=0.001)
        first = put(queue, 1)
        assert [job.task for job in await queue.take()] == [1]
        first.cancel()

    run(test)


def test_several_workers_share_a_queue() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9)
        takers = [asyncio.create_task(queue.take()) for _ in range(3)]
        await settle()
        waiting = [put(queue, number) for number in range(3)]
        taken = await asyncio.gather(*takers)
        assert sorted(jobs[0].task for jobs in taken) == [0, 1, 2]
        for task in waiting:
            task.cancel()

    run(test)


def test_closed_queue_is_worked_off() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9, max_batch=2, max_wait=60)
        waiting = put(queue, 1)
        idle = asyncio.create_task(queue.take())
        await settle()
        queue.close()
        assert [job.task for job in await idle] == [1]  # at once
        assert await queue.take() == []
        with pytest.raises(Refusal):
            await queue.submit(2, SMALL, seconds=60)
        waiting.cancel()

    run(test)


def test_everything_that_waits_can_be_refused() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=9)
        waiting = [put(queue, number) for number in range(2)]
        await settle()
        queue.refuse(lambda: not_ready("m"))
        for task in waiting:
            with pytest.raises(Refusal, match="not ready"):
                await task
        assert len(queue) == 0

    run(test)


def test_retry_after_grows_with_queue_and_time() -> None:
    async def test() -> None:
        queue: Queue = Batcher(capacity=99, workers=2)
        waiting = [put(queue, number) for number in range(40)]
        await settle()
        assert queue.retry_after() == 1
        jobs = await queue.take()
        for _ in range(100):
            queue.done(jobs, 1.0)
        assert queue.retry_after() == 20
        for task in waiting:
            task.cancel()

    run(test)
