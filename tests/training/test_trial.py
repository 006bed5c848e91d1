"""Trials: what they say, and that they leave nothing behind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from topseg.core.errors import InputError
from topseg.recipe import Recipe
from topseg.training import trial
from topseg.training.trial import bench_data, dry_run

MakeRecipe = Callable[..., Recipe]


def with_losses(recipe: Recipe, *names: str) -> Recipe:
    from topseg.core.config import build, to_tree

    tree = to_tree(recipe) | {"loss": [{"name": name} for name in names]}
    return build(Recipe, tree, "recipe")


def test_dry_run(make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(train={"accumulate": 2, "workers": 2})
    text = dry_run(with_losses(recipe, "cross_entropy", "dice", "lovasz"), "cpu")
    lines = [re.split(r"\s{2,}", line, maxsplit=1) for line in text.splitlines()]
    said = [text for name, text in lines if name == "loss"]
    assert said[0] == "1 x cross_entropy, over the whole batch, lean"
    assert said[1] == "1 x dice, over each part of 2 images by itself, lean"
    assert "not lean: holds 2 x 2 x 64 x 64 values, 0 MB, several times" in said[2]
    facts = dict(lines)
    assert facts["data"] == "12 train and 3 val images, 2 classes"
    assert "images/s a worker, 2 workers" in facts["loader"]
    assert "for 4 images on cpu" in facts["step"]
    assert re.match(r"about \S+ m?s: 6 steps and 2 evaluations", facts["whole run"])
    assert not list(tmp_path.iterdir())


def test_memory_of_the_state(make_recipe: MakeRecipe) -> None:
    """Weights, gradients, two moments, the average: five times the parameters; statistics."""
    with trial._open_trial(make_recipe(), "cpu") as trainer:
        batch = trial.StepBatches(trainer.data, trainer.recipe, trainer.world)[0]
        trainer.step(batch)  # type: ignore[arg-type]
        parameters = sum(p.numel() for p in trainer.state.model.parameters())
        found = trial._state_bytes(trainer)
    assert 5 * 4 * parameters < found < 5 * 4 * parameters + 1000


def test_dry_run_refuses_what_a_run_would(make_recipe: MakeRecipe) -> None:
    with pytest.raises(InputError, match=r"add \{name: pad_crop\}"):
        dry_run(make_recipe(train={"crop": [64, 128], "augment": []}), "cpu")
    with pytest.raises(InputError, match=r"add \{name: pad_crop\}"):
        bench_data(make_recipe(train={"crop": [64, 128], "augment": []}), "cpu")


@pytest.mark.parametrize("workers", [0, 1])
def test_bench_data(workers: int, make_recipe: MakeRecipe) -> None:
    text = bench_data(make_recipe(train={"workers": workers, "steps": 20}), "cpu", seconds=0.05)
    table, sentence = text.split("\n\n")
    rows = [re.split(r"\s{2,}", line) for line in table.splitlines()]
    names = [row[0] for row in rows]
    stages = ["stage", "decode image and mask", "flip", "distort", "batch", "one worker"]
    assert names == [*stages, *["1 workers, measured"] * workers, "step on cpu"]
    for _, milliseconds, rate in rows[1:]:
        assert float(rate) == pytest.approx(1000 / max(float(milliseconds), 1e-9), rel=0.1) or (
            float(milliseconds) < 0.1  # rounded too far
        )
    spent = [float(row[1]) for row in rows[1:]]
    assert sum(spent[:4]) == pytest.approx(spent[4], abs=0.05)
    assert ("train.workers is 0" in sentence) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_bench_data_of_a_recipe_of_one_step(workers: int, make_recipe: MakeRecipe) -> None:
    text = bench_data(make_recipe(train={"workers": workers, "steps": 1}), "cpu", seconds=0.05)
    assert "inf" not in text


def test_says_what_waits_for_what() -> None:
    assert trial._bottleneck(50, 2, 20).startswith("the step: it takes 20.0 images/s and 2 workers")
    loader = trial._bottleneck(50, 2, 220)
    assert "2 workers give 100.0 images/s and the step takes 220.0; train.workers=5" in loader
    assert trial._bottleneck(30, 0, 10).startswith("loading takes 25% of the time")
