"""Worker processes: they start, answer, die and are replaced."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import DEADLY, ColorRuntime, make_bundle

from topseg.bundle.bundle import Bundle, read_bundle, write_metadata
from topseg.core.errors import InputError
from topseg.serve import model as model_module
from topseg.serve.config import ServeConfig
from topseg.serve.refusal import Refusal
from topseg.serve.service import Service
from topseg.serve.workers.pipeline import Tensors
from topseg.serve.workers.worker import Worker, WorkerLost, WorkerPlan

GOOD = Tensors(np.full((1, 32, 32, 3), 9, np.uint8), ("logits",))
BAD = Tensors(np.full((1, 32, 32, 3), DEADLY, np.uint8), ("logits",))


def plan(bundle: Bundle, engine: Any = ColorRuntime) -> WorkerPlan:
    return WorkerPlan(bundle, engine, max_batch=2, threads=1, max_pixels=10**6)


@pytest.fixture(scope="module")
def worker(fake: Bundle) -> Iterator[Worker]:
    worker = Worker(plan(fake))
    yield worker
    worker.close()
    assert not worker.alive


def test_worker_answers(worker: Worker) -> None:
    answers = worker([GOOD, GOOD])
    assert [answer.tensors["logits"].shape for answer in answers] == [(1, 3, 4, 4)] * 2
    assert worker.alive
    assert worker.max_batch == 2


def test_worker_without_a_task_says_that_it_is_there(worker: Worker) -> None:
    assert worker([]) == []


@pytest.mark.parametrize("size", [32, 1024])  # the larger one does not fit into the pipe
def test_stopped_worker_can_be_killed_whatever_it_hangs_in(fake: Bundle, size: int) -> None:
    worker = Worker(plan(fake))
    os.kill(worker.pid, signal.SIGSTOP)
    timer = threading.Timer(0.3, worker.kill)
    timer.start()
    with pytest.raises(WorkerLost, match="ended"):
        worker([Tensors(np.zeros((1, size, size, 3), np.uint8), ("masks",))])
    worker.close()
    assert not worker.alive


def test_worker_that_dies_is_noticed(fake: Bundle) -> None:
    worker = Worker(plan(fake))
    with pytest.raises(WorkerLost, match="ended"):
        worker([BAD])
    with pytest.raises(WorkerLost, match="ended"):
        worker([GOOD])
    worker.close()


def _refuse(bundle: Bundle) -> Any:
    raise InputError("no such engine")


def test_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m")
    with pytest.raises(InputError, match="no such engine"):
        Worker(plan(bundle, _refuse))
    (bundle.folder / "more").write_text("x")
    write_metadata(bundle.folder, bundle.metadata)
    with pytest.raises(InputError, match="changed while it was served"):
        Worker(plan(bundle))


def run(
    bundle: Bundle, test: Callable[[Service], Coroutine[Any, Any, None]], **settings: Any
) -> None:
    async def whole() -> None:
        config = ServeConfig(models={"m": str(bundle.folder)}, workers=1, **settings)
        service = Service(config, lambda model: read_bundle(Path(model)), ColorRuntime)
        await service.start()
        try:
            await test(service)
        finally:
            await service.close()

    asyncio.run(whole())


def test_dead_workers_are_answered_for_and_replaced(fake: Bundle) -> None:
    async def test(service: Service) -> None:
        model = service.model()
        waiting = [asyncio.create_task(service.infer(model, task, None)) for task in (BAD, GOOD)]
        with pytest.raises(Refusal, match="worker process ended") as refused:
            await waiting[0]
        assert refused.value.status == 500
        answer = await waiting[1]  # which waited meanwhile
        assert answer.tensors["logits"].shape == (1, 3, 4, 4)
        assert service.ready

        (worker,) = model.workers
        worker.kill()  # while there is nothing to do: nobody is to notice
        worker._process.join()
        await service.infer(model, GOOD, None)
        lines = service.metrics.text().decode().splitlines()
        assert 'topseg_worker_restarts_total{model="m"} 2.0' in lines

    run(fake, test)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def test_workers_that_hang_are_replaced(fake: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "IDLE_SECONDS", 0.2)

    async def test(service: Service) -> None:
        model, big = service.model(), Tensors(np.zeros((1, 1024, 1024, 3), np.uint8), ("masks",))
        for task in (GOOD, big):  # hung with a task
            (old,) = model.workers
            os.kill(old.pid, signal.SIGSTOP)
            with pytest.raises(Refusal, match=r"did not answer within 1 s"):
                await service.infer(model, task, None)
            await until(lambda old=old: model.workers not in ((), (old,)))
            assert (await service.infer(model, GOOD, None)).tensors["logits"].any()
        (old,) = model.workers  # hung without one
        os.kill(old.pid, signal.SIGSTOP)
        await until(lambda: model.workers not in ((), (old,)))
        assert service.ready

    run(fake, test, worker_seconds=1.0)


def test_readiness_tells_the_truth_of_idle_workers(fake: Bundle) -> None:
    async def test(service: Service) -> None:
        model = service.model()
        (old,) = model.workers
        os.kill(old.pid, signal.SIGKILL)
        await until(lambda: not old.alive)
        assert not service.ready
        assert b'topseg_workers_ready{model="m"} 0.0' in service.metrics.text()
        await until(lambda: service.ready)  # without a request
        assert model.workers[0] is not old

    run(fake, test)


def test_reload_changes_over_without_a_gap(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "m")

    async def test(service: Service) -> None:
        make_bundle(tmp_path / "new", ("crimson", "lime", "navy"))
        (tmp_path / "m" / "metadata.json").write_bytes(
            (tmp_path / "new" / "metadata.json").read_bytes()
        )
        stop = asyncio.Event()

        async def ask() -> int:
            count = 0
            while not stop.is_set():
                await service.infer(service.model(), GOOD, None)
                count += 1
            return count

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        old = service.model()
        await service.reload()
        stop.set()
        assert min(await asyncio.gather(*asking)) > 0
        assert service.model() is not old
        assert service.model().bundle.metadata.classes == ("crimson", "lime", "navy")
        assert old.workers == ()

        (tmp_path / "m" / "metadata.json").write_text("{}")
        await service.reload()  # which fails, and changes nothing
        assert service.ready
        await service.infer(service.model(), GOOD, None)

    run(bundle, test)


def test_reload_waits_until_the_service_has_started(
    fake: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def start(model: model_module.Model) -> None:
        order.append("start")
        await asyncio.sleep(0.01)
        order.append("started")

    monkeypatch.setattr(model_module.Model, "start", start)

    async def test() -> None:
        service = Service(ServeConfig(models={"m": str(fake.folder)}), lambda _: fake)
        await asyncio.gather(service.start(), service.reload())
        await service.close()

    asyncio.run(test())
    assert order == ["start", "started"] * 2
