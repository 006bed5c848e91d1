"""Several processes: they train as one would, stop as one, and say why when one is gone."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from topseg.core.errors import InputError
from topseg.recipe import Recipe
from topseg.training.comparison import compare_runs
from topseg.training.distributed import World
from topseg.training.trainer import Trainer, train

MakeRecipe = Callable[..., Recipe]
Job = Callable[[int], int]

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning"),
]


def launch(job: Job, size: int = 2) -> list[int]:
    """Run a job in processes that see what torchrun would tell them; give their exit codes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
            os.environ.update({key: str(value) for key, value in told.items()})
            os.environ["MASTER_ADDR"] = "127.0.0.1"
            code = 99
            try:
                code = job(rank)
            except InputError as error:
                print(f"rank {rank}: {error}", flush=True)
                code = 2
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_train_as_one(make_recipe: MakeRecipe, tmp_path: Path, frozen: None) -> None:
    """Images have unequal shares of labelled pixels: only the global count gives this."""
    recipe = make_recipe(train={"batch_size": 8, "steps": 3})
    assert train(recipe, tmp_path / "one", device="cpu") == 0
    assert launch(lambda rank: train(recipe, tmp_path / "two", device="cpu")) == [0, 0]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    lines = [(tmp_path / run / "log.jsonl").read_text().splitlines()[-1] for run in ("one", "two")]
    one, two = map(json.loads, lines)  # three images, two and one
    assert one.pop("val_loss") == pytest.approx(two.pop("val_loss"), abs=1e-5)
    assert one == two


def test_a_signal_to_one_stops_all_and_they_resume(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert launch(lambda rank: train(make_recipe(), whole, device="cpu")) == [0, 0]
    step = Trainer.step

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.state.step == 2 and self.world.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        assert launch(lambda rank: train(make_recipe(), run, device="cpu")) == [143, 143]
    recipe = make_recipe(train={"workers": 1})
    assert launch(lambda rank: train(recipe, run, device="cpu", resume=True)) == [0, 0]
    assert compare_runs(whole, run) == []


def test_a_dead_process_is_noticed(
    make_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    step = Trainer.step

    def dying(self: Trainer, batch: Any) -> Any:
        if self.state.step == 2 and self.world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", dying)
    codes = launch(lambda rank: train(make_recipe(), tmp_path / "run", device="cpu"))
    assert codes == [2, -signal.SIGKILL]
    said = capfd.readouterr().out
    assert "another process of this run is gone" in said
    assert "go on with --resume" in said


def test_an_error_of_the_first_reaches_all(
    make_recipe: MakeRecipe, whole_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launch(lambda rank: train(make_recipe(), whole_run, device="cpu")) == [2, 2]
    assert capfd.readouterr().out.count("holds a run already") == 2


def test_another_number_of_processes_is_a_warning(
    make_recipe: MakeRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(make_recipe(train={"steps": 2}), run, device="cpu") == 0
    recipe = make_recipe(train={"steps": 3})
    assert launch(lambda rank: train(recipe, run, device="cpu", resume=True)) == [0, 0]
    assert "the run had 1 processes, now 2: it goes on" in capfd.readouterr().out


def test_alone_nothing_is_exchanged() -> None:
    world = World(0, 1, torch.device("cpu"))
    tensor = torch.ones(2)
    assert world.add(tensor) is tensor
    assert world.gather("a") == ["a"]
    assert world.any(True)
    assert not world.any(False)
