"""Where the files lie changes no bit of a run: folder, ZIP, TAR, shards."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topseg.core.config import to_tree
from topseg.data.config import DataConfig
from topseg.data.sharding import write_shards
from topseg.recipe import Recipe, read_data
from topseg.training.comparison import compare_runs
from topseg.training.trainer import train

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module", params=["zip", "tar", "shards"])
def packed(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    base = tmp_path_factory.mktemp("packed") / "data"
    if request.param == "shards":
        classes = ("ground", "square")
        write_shards(DataConfig(root=str(data), classes=classes), base)
        return base
    return Path(shutil.make_archive(str(base), request.param, data))


def section(packed: Path) -> dict[str, Any]:
    return to_tree(read_data(packed, [] if packed.is_dir() else ["classes=[ground, square]"]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_is_the_same_bit_by_bit(
    packed: Path, workers: int, make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(data=section(packed), train={"workers": workers})
    assert train(recipe, tmp_path / "run", device="cpu") == 0
    assert compare_runs(whole_run, tmp_path / "run") == []


def test_a_run_goes_on_exactly(
    packed: Path, make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path
) -> None:
    """Stop after some steps on the folder, go on with its archive; shards go on by themselves."""
    run = tmp_path / "run"
    if packed.is_dir():
        assert train(make_recipe(data=section(packed)), run, device="cpu") == 0
    else:
        shutil.copytree(whole_run, run)
    for step in ("4", "6"):
        shutil.rmtree(run / "checkpoints" / f"step_0000000{step}", ignore_errors=True)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step_00000002"]
    recipe = make_recipe(data=section(packed), train={"workers": 1})
    assert train(recipe, run, device="cpu", resume=True) == 0
    assert compare_runs(whole_run, run) == []
