"""Exact resume: whatever ends a run, going on gives the run that nothing ended."""

import functools
import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from topseg.recipe import Recipe
from topseg.training import validation
from topseg.training.comparison import compare_runs
from topseg.training.trainer import Trainer, train

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_saves_and_stops(
    number: signal.Signals,
    code: int,
    make_recipe: MakeRecipe,
    whole_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = Trainer.step

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.state.step == 2:
            os.kill(os.getpid(), number)
        return step(self, batch)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        assert train(make_recipe(), run, device="cpu") == code
    assert "stopped after step 3; continue with --resume" in capsys.readouterr().out
    assert (run / "checkpoints" / "step_00000003").is_dir()
    # Step 3 is due for an evaluation, which had to wait.
    assert len((run / "log.jsonl").read_text().splitlines()) == 3
    assert train(make_recipe(train={"workers": 1}), run, device="cpu", resume=True) == 0
    assert compare_runs(whole_run, run) == []


def test_a_signal_breaks_an_evaluation_off(
    make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, images = validation.MeanLoss.update, itertools.count()

    def interrupted(*words: Any) -> None:
        if next(images) == 0:  # the first of the split's images
            os.kill(os.getpid(), signal.SIGTERM)
        update(*words)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(validation.MeanLoss, "update", interrupted)
        assert train(make_recipe(), run, device="cpu") == 143
    assert train(make_recipe(), run, device="cpu", resume=True) == 0
    assert compare_runs(whole_run, run) == []


def test_signals_are_given_back(make_recipe: MakeRecipe, whole_run: Path) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


MOMENTS = (  # what a run does to its folder, and its steps: a kill may come before any of them
    (Trainer, "step"),
    (Path, "write_bytes"),
    (Path, "write_text"),
    (Path, "rename"),
    (os, "fsync"),
    (shutil, "rmtree"),
)


def count_moments(act: Callable[[int], None]) -> None:
    """Call ``act`` with a running number before each moment of this process."""
    numbers: Iterator[int] = iter(range(10**9))
    for owner, name in MOMENTS:
        original = getattr(owner, name)

        def counted(*arguments: Any, _original: Any = original, **more: Any) -> Any:
            act(next(numbers))
            return _original(*arguments, **more)

        setattr(owner, name, counted)


def in_a_child(job: Callable[[], int]) -> int:
    """Run a job in a forked process; give its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = job()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_kill_at_random_moments(make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path) -> None:
    run, rng = tmp_path / "run", random.Random(0)

    def job(moment: int, workers: int) -> int:
        count_moments(lambda n: os.kill(os.getpid(), signal.SIGKILL) if n == moment else None)
        recipe = make_recipe(train={"workers": workers})
        return train(recipe, run, device="cpu", resume=(run / "recipe.yaml").exists())

    for workers in (0, 2, 1, 0):
        moment = rng.randrange(40)
        assert in_a_child(functools.partial(job, moment, workers)) == -signal.SIGKILL
    assert in_a_child(functools.partial(job, 10**6, 1)) == 0
    assert compare_runs(whole_run, run) == []
