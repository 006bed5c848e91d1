"""The best evaluations: which they are, and the bundles that hold them."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from topseg.bundle.bundle import read_bundle
from topseg.inference.hub import open_model
from topseg.recipe import Recipe
from topseg.training.best import keep_weights, ranked
from topseg.training.comparison import compare_runs
from topseg.training.trainer import train

MakeRecipe = Callable[..., Recipe]


def test_ranked() -> None:
    top = ranked([], math.nan, 1, 2)
    assert top == []
    for step, miou in enumerate((0.3, 0.5, 0.5, 0.4), start=2):
        top = ranked(top, miou, step, 2)
    assert top == [(0.5, 3), (0.5, 4)]  # of equals the earlier comes first


@pytest.mark.parametrize("keep", [1, 2])
def test_folders_hold_the_best(keep: int, tmp_path: Path, whole_run: Path) -> None:
    metadata, top = read_bundle(whole_run / "best").metadata, []
    for step, miou in enumerate((0.3, 0.2, 0.5, 0.4), start=1):
        top = ranked(top, miou, step, keep)
        keep_weights(tmp_path, top, step, {"x": torch.tensor([miou])}, metadata, keep)
    assert load_file(open_model(tmp_path / "best").weights)["x"].item() == 0.5
    folders = sorted((tmp_path / "top").glob("*"))
    found = [load_file(open_model(folder).weights)["x"].item() for folder in folders]
    assert found == ([] if keep == 1 else [0.5, pytest.approx(0.4)])


def test_a_run_keeps_them_and_resumes(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = {"eval_every": 1, "save_every": 2, "keep": 9, "keep_best": 2}
    train(make_recipe(train=settings), tmp_path / "whole", device="cpu")
    train(make_recipe(train=settings), tmp_path / "run", device="cpu")
    for step in (4, 6):  # as if the run had been killed after step 3
        shutil.rmtree(tmp_path / f"run/checkpoints/step_{step:08d}")
    train(make_recipe(train=settings), tmp_path / "run", device="cpu", resume=True)
    assert compare_runs(tmp_path / "whole", tmp_path / "run") == []
    names = [sorted(p.name for p in (tmp_path / run / "top").iterdir()) for run in ("whole", "run")]
    assert names[0] == names[1]
    assert len(names[0]) == 2
