"""What a run says of itself before it starts, and how long it says that it takes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from topseg.recipe import Recipe
from topseg.training import outlook
from topseg.training.distributed import World
from topseg.training.outlook import MEASURED, Outlook, describe_run
from topseg.training.trainer import prepare, train

MakeRecipe = Callable[..., Recipe]


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outlook, "time", clock)
    return clock


def run_steps(about: Outlook, clock: Clock, start: int, count: int, pace: float) -> list[str]:
    def evaluate_one() -> None:
        clock.now += 0.1

    lines: list[Any] = []
    for step in range(start + 1, start + count + 1):
        clock.now += 100.0 if step == start + 1 else pace
        lines.append(about.estimate(step, evaluate_one))
    return [line for line in lines if line]


def test_estimate_counts_steps_and_evaluations(make_recipe: MakeRecipe, clock: Clock) -> None:
    recipe = make_recipe(train={"steps": 506, "eval_every": 100})
    lines = run_steps(Outlook(recipe, 0, images=200), clock, 0, 20, pace=0.5)
    # The first step, which took 100 s, is not counted: 500 x 0.5 s and 6 x 200 x 0.1 s.
    assert lines == ["about 6 min to go: 500 steps of 0.5 s, 6 evaluations of 20 s"]


def test_estimate_of_a_resumed_run(make_recipe: MakeRecipe, clock: Clock) -> None:
    recipe = make_recipe(train={"steps": 506, "eval_every": 100})
    lines = run_steps(Outlook(recipe, 400, images=20), clock, 400, 20, pace=0.5)
    assert lines == ["about 54 s to go: 100 steps of 0.5 s, 2 evaluations of 2 s"]


def test_no_estimate_of_what_is_soon_over(make_recipe: MakeRecipe, clock: Clock) -> None:
    steps = 2 * MEASURED
    about = Outlook(make_recipe(train={"steps": steps}), 0, images=20)
    assert run_steps(about, clock, 0, steps, pace=0.5) == []


def test_device_model_and_data(make_recipe: MakeRecipe) -> None:
    recipe, world = make_recipe(), World(0, 1, torch.device("cpu"))
    parts = prepare(recipe, world)
    size = sum(p.numel() for p in parts.state.model.parameters()) / 1e6
    assert describe_run(recipe, parts.data, parts.val, parts.state, world) == (
        f"topformer_tiny, {size:.2f} M parameters, on cpu; 12 training and 3 validation images, "
        "2 classes; 6 steps of 4 images"
    )


def test_a_run_begins_with_it(
    make_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe(train={"steps": 12, "eval_every": 12})
    assert train(recipe, tmp_path / "run", device="cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("topformer_tiny, ")
    # After one step and those that are measured, before that step's own line.
    estimate = next(i for i, line in enumerate(lines) if line.startswith("about "))
    assert lines[estimate + 1].startswith(f"step {1 + MEASURED}/12 ")
    assert re.search(r"6 steps of \S+ m?s, 1 evaluation of \S+ m?s$", lines[estimate])
