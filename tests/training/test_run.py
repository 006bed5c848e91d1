"""The run folder: what may be started, and what may go on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from topseg.core.errors import InputError
from topseg.core.files import read_json, write_json
from topseg.core.locks import hold
from topseg.inference.hub import open_model
from topseg.recipe import Recipe
from topseg.training.comparison import compare_runs
from topseg.training.run import open_run
from topseg.training.trainer import train

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(whole_run, tmp_path / "run")
    return tmp_path / "run"


def refuse(match: str, recipe: Recipe, run: Path, *, resume: bool = True) -> None:
    with pytest.raises(InputError, match=match):
        train(recipe, run, device="cpu", resume=resume)


def test_a_new_run_into_an_existing_one(make_recipe: MakeRecipe, run: Path) -> None:
    refuse("holds a run already; go on with --resume", make_recipe(), run, resume=False)


def test_resume_where_there_is_nothing(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    refuse("no run to resume", make_recipe(), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_resume_before_the_first_checkpoint(
    make_recipe: MakeRecipe, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    assert train(make_recipe(), run, device="cpu", resume=True) == 0
    assert "starting at step 0" in capsys.readouterr().out
    assert len((run / "log.jsonl").read_text().splitlines()) == 8  # and not those of before


def test_more_steps_are_done_than_asked_for(make_recipe: MakeRecipe, run: Path) -> None:
    refuse("got 4, but 6 steps are done; raise train.steps", make_recipe(train={"steps": 4}), run)


def test_more_steps(make_recipe: MakeRecipe, run: Path) -> None:
    recipe = make_recipe(train={"steps": 7, "workers": 1, "keep": 1})
    assert train(recipe, run, device="cpu", resume=True) == 0
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step_00000007"]


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(
    make_recipe: MakeRecipe, run: Path
) -> None:
    folder = run / "checkpoints"
    before = sorted(path.name for path in folder.iterdir())
    (folder / before[-1] / "state.json").write_text("{")
    shutil.copytree(folder / before[-2], folder / f"{before[-2]}_copy")
    found, _ = open_run(run, make_recipe(train={"keep": 1}), True, lambda text: None)
    assert found == folder / before[-2]
    left = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert left == [before[-2], f"{before[-2]}_copy"]


def test_another_recipe(make_recipe: MakeRecipe, run: Path) -> None:
    changed = make_recipe(optim={"lr": 1.0}, train={"batch_size": 2, "steps": 9})
    with pytest.raises(InputError) as caught:
        train(changed, run, device="cpu", resume=True)
    first, second = str(caught.value).splitlines()
    assert "optim.lr: the run has 0.0012, got 1.0" in first
    assert "train.batch_size: the run has 4, got 2" in second


def test_other_data(make_recipe: MakeRecipe, run: Path, data: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    recipe = make_recipe(data={"root": str(moved)}, train={"steps": 7})
    Image.new("RGB", (64, 64)).save(moved / "images" / "train" / "new.png")
    Image.new("L", (64, 64)).save(moved / "masks" / "train" / "new.png")
    refuse("data: changed since the checkpoint was written .12 images, now 13", recipe, run)
    for kind in ("images", "masks"):
        (moved / kind / "train" / "11.png").unlink()
    refuse("file names", recipe, run)
    shutil.rmtree(moved)
    shutil.copytree(data, moved)
    assert train(recipe, run, device="cpu", resume=True) == 0


def test_another_class_count(make_recipe: MakeRecipe, run: Path) -> None:
    recipe = make_recipe(data={"classes": ["ground", "square", "circle"]}, train={"steps": 7})
    refuse("data.classes: the run has", recipe, run)


def test_another_thread_count_is_a_warning(
    make_recipe: MakeRecipe, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = run / "checkpoints" / "step_00000006" / "state.json"
    metadata = state.with_name("metadata.json")
    before = state.read_bytes()
    state.write_bytes(before.replace(b'"threads": 1', b'"threads": 5'))
    from topseg.core.files import sha256

    text = metadata.read_text()
    old = next(line for line in text.splitlines() if "state.json" in line).split('"')[3]
    metadata.write_text(text.replace(old, sha256(state)))
    assert train(make_recipe(train={"steps": 7}), run, device="cpu", resume=True) == 0
    assert "the run had 5 threads, now 1" in capsys.readouterr().out


def test_a_run_that_another_process_trains(make_recipe: MakeRecipe, run: Path) -> None:
    with hold(run / ".lock", "", print):
        refuse("in use by another process .*; wait until it ends", make_recipe(), run)
        refuse("in use by another process", make_recipe(), run, resume=False)
    assert train(make_recipe(), run, device="cpu", resume=True) == 0


def test_metadata_of_schema_1_goes_on(make_recipe: MakeRecipe, run: Path, whole_run: Path) -> None:
    """A checkpoint of version 0.1."""
    shutil.rmtree(run / "checkpoints" / "step_00000006")
    for path in run.rglob("metadata.json"):
        tree = read_json(path)
        model = tree.pop("architecture")
        model |= model.pop("options")
        write_json(path, tree | {"schema_version": 1, "model": model, "stride": 8})
    assert open_model(run).metadata.architecture.options == {"pool": "adaptive"}
    assert train(make_recipe(), run, device="cpu", resume=True) == 0
    assert compare_runs(whole_run, run) == []
