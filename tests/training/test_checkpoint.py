"""Checkpoints: whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from topseg.bundle.metadata import METADATA as METADATA_FILE
from topseg.bundle.metadata import Architecture, Metadata
from topseg.core.errors import InputError
from topseg.recipe import Recipe
from topseg.training import checkpoint
from topseg.training.checkpoint import (
    STATE,
    Checkpoint,
    RunState,
    load_checkpoint,
    newest_checkpoint,
    prune,
    save_checkpoint,
)
from topseg.training.comparison import compare_runs
from topseg.training.trainer import train

MakeRecipe = Callable[..., Recipe]
METADATA = Metadata(
    architecture=Architecture(name="fake", num_classes=1, in_channels=3),
    classes=("a",),
    palette=((0, 0, 0),),
    weights="model.safetensors",
)


def make(step: int) -> Checkpoint:
    weight = torch.arange(24.0).view(1, 4, 2, 3).to(memory_format=torch.channels_last) + step
    tensors = {"model": {"weight": weight}, "optimizer": {"weight.exp_avg": weight / 8}}
    state = RunState(
        step=step,
        evaluated=0,
        top=((1 / 3, 2),),
        stale=0,
        losses=(),
        scaler={},
        log_bytes=0,
        data={"train": 3},
        environment={"torch": "2"},
    )
    return Checkpoint(tensors, state)


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Replace a checkpoint's file, its hash as well."""
    (folder / name).write_bytes(data)
    tree = json.loads((folder / METADATA_FILE).read_text())
    tree["files"][name] = hashlib.sha256(data).hexdigest()
    (folder / METADATA_FILE).write_text(json.dumps(tree))


def no_warning(text: str) -> None:
    raise AssertionError(text)


def test_reads_back(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, make(7), METADATA)
    assert folder == tmp_path / "checkpoints" / "step_00000007"
    loaded = load_checkpoint(folder)
    assert loaded.state == make(7).state
    assert torch.equal(loaded.tensors["model"]["weight"], make(7).tensors["model"]["weight"])


def test_is_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make(7), METADATA)
    again = Checkpoint(make(7).tensors, replace(make(7).state, stale=1))
    assert load_checkpoint(save_checkpoint(tmp_path, again, METADATA)).state.stale == 1
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000007"]


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 20, 3):
        save_checkpoint(tmp_path, make(step), METADATA)
    (tmp_path / "checkpoints" / ".step_00000099.tmp").mkdir()
    prune(tmp_path, 2)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_00000003", "step_00000020"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": "4"}, "step: "),
        ({"step": -1}, "step: "),
        ({"step": None}, "step: "),
        ({"top": [[1]]}, "top"),
        ({"top": 5}, "top: "),
        ({"stale": "x"}, "stale: "),
        ({"scaler": 5}, "scaler: "),
        ({"losses": "x"}, "losses: "),
        ({"evaluated": None}, "evaluated: "),
        ({"more": 1}, "more: "),
    ],
)
def test_a_state_of_other_values_is_skipped(
    tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    """Its hash fits, as that of a file which somebody has edited."""
    good = save_checkpoint(tmp_path, make(1), METADATA)
    bad = save_checkpoint(tmp_path, make(2), METADATA)
    tree = json.loads((bad / STATE).read_text())
    rewrite(bad, STATE, json.dumps(tree | change).encode())
    warnings: list[str] = []
    assert newest_checkpoint(tmp_path, warnings.append)[0] == good
    assert len(warnings) == 1
    assert expected in warnings[0]
    assert str(bad / STATE) in warnings[0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (STATE, b"[]"),
        (STATE, b"{}"),
        (STATE, b"[" * 100_000),
        ("model.safetensors", b"junk"),
        ("optimizer.safetensors", b"junk"),
    ],
)
def test_a_file_of_something_else_is_skipped(tmp_path: Path, name: str, data: bytes) -> None:
    good = save_checkpoint(tmp_path, make(1), METADATA)
    bad = save_checkpoint(tmp_path, make(2), METADATA)
    rewrite(bad, name, data)
    warnings: list[str] = []
    assert newest_checkpoint(tmp_path, warnings.append)[0] == good
    assert [str(bad / name) in text for text in warnings] == [True]


def test_weights_in_place_of_the_optimizers_are_skipped(tmp_path: Path) -> None:
    good = save_checkpoint(tmp_path, make(1), METADATA)
    bad = save_checkpoint(tmp_path, make(2), METADATA)
    rewrite(bad, "optimizer.safetensors", (bad / "model.safetensors").read_bytes())
    warnings: list[str] = []
    assert newest_checkpoint(tmp_path, warnings.append)[0] == good
    assert "expected a moment of a weight" in warnings[0]


def test_nothing_was_written(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, no_warning) == (None, None)


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "metadata.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_one_is_named_and_skipped(tmp_path: Path, file: str, damage: str) -> None:
    good = save_checkpoint(tmp_path, make(1), METADATA)
    bad = save_checkpoint(tmp_path, make(2), METADATA) / file
    data = bad.read_bytes()
    if damage == "gone":
        bad.unlink()
    else:
        half = len(data) // 2
        flipped = bytes([data[half] ^ 1]) + data[half + 1 :]
        bad.write_bytes(data[:half] + (flipped if damage == "flip" else b""))
    warnings: list[str] = []
    assert newest_checkpoint(tmp_path, warnings.append)[0] == good
    assert len(warnings) == 1
    assert str(bad.parent) in warnings[0]


def test_all_are_damaged(tmp_path: Path) -> None:
    (save_checkpoint(tmp_path, make(1), METADATA) / "state.json").unlink()
    with pytest.raises(InputError, match="all 1 checkpoints are damaged"):
        newest_checkpoint(tmp_path, [].append)


def test_a_full_disk_loses_nothing(
    make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: Any) -> int:
        if path.parent.name == ".step_00000004.tmp" and path.name == "optimizer.safetensors":
            write(path, data[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    run = tmp_path / "run"
    monkeypatch.setattr(checkpoint.Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"step_00000004: could not be written .*free some space"):
        train(make_recipe(), run, device="cpu")
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step_00000002"]
    monkeypatch.undo()
    train(make_recipe(), run, device="cpu", resume=True)
    assert compare_runs(whole_run, run) == []


def test_a_damaged_one_costs_steps_but_no_exactness(
    make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    for step in (4, 6):
        path = run / "checkpoints" / f"step_{step:08d}" / "optimizer.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    train(make_recipe(), run, device="cpu", resume=True)
    said = capsys.readouterr().out
    assert "step_00000006" in said
    assert "step_00000004" in said
    assert compare_runs(whole_run, run) == []


def test_what_cannot_be_removed_stops_nothing(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS a file that somebody reads keeps its folder from being removed."""
    real = shutil.rmtree

    def rmtree(path: Path, ignore_errors: bool = False) -> None:
        if not Path(path).name.endswith(".old.tmp"):
            real(path, ignore_errors=ignore_errors)
        elif not ignore_errors:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    recipe = make_recipe(train={"save_every": 1, "eval_every": 2, "keep": 1, "keep_best": 2})
    assert train(recipe, tmp_path / "run", device="cpu") == 0
    steps = [p.name for p in (tmp_path / "run/checkpoints").glob("step_*")]
    assert steps == ["step_00000006"]
    monkeypatch.undo()
    prune(tmp_path / "run", 1)
    assert not list((tmp_path / "run").rglob("*.old.tmp"))


def test_each_file_is_read_once_on_resume(
    make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = tmp_path / "run", Path.open
    shutil.copytree(whole_run, run)
    opened: list[str] = []

    def count(path: Path, *arguments: Any, **more: Any) -> Any:
        if "checkpoints" in path.parts and (arguments or ("r",))[0].startswith("r"):
            opened.append(f"{path.parent.name}/{path.name}")
        return read(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", count)
    train(make_recipe(), run, device="cpu", resume=True)
    files = ["ema.safetensors", "metadata.json", "model.safetensors"]
    files += ["optimizer.safetensors", "state.json"]
    assert sorted(opened) == [f"step_00000006/{name}" for name in files]
