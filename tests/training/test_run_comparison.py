"""Comparing runs: equal ones, and where others differ."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from topseg.bundle.bundle import read_bundle, write_metadata
from topseg.core.errors import InputError
from topseg.training.comparison import compare_runs


@pytest.fixture
def other(whole_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole_run, tmp_path / "other")
    return tmp_path / "other"


def test_wall_clock_does_not_count(whole_run: Path, other: Path) -> None:
    log = other / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[0]["images_per_s"] += 1
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert compare_runs(whole_run, other) == []


def test_one_bit_counts(whole_run: Path, other: Path) -> None:
    folder = other / "checkpoints" / "step_00000004"
    path = folder / "optimizer.safetensors"
    tensors = load_file(path)
    name = "decode_head.1.bias.exp_avg"
    tensors[name].view(torch.int32)[0] ^= 1
    save_file(tensors, path)
    write_metadata(folder, read_bundle(whole_run / "checkpoints" / "step_00000004").metadata)
    (difference,) = compare_runs(whole_run, other)
    assert difference == f"step_00000004/optimizer.safetensors: {name}"


def test_a_line_counts(whole_run: Path, other: Path) -> None:
    log = other / "log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    (difference,) = compare_runs(whole_run, other)
    assert "log.jsonl: line 8" in difference


def test_no_runs(whole_run: Path, other: Path, tmp_path: Path) -> None:
    shutil.rmtree(other / "checkpoints")
    with pytest.raises(InputError, match="no checkpoint in common"):
        compare_runs(whole_run, other)
    with pytest.raises(InputError, match="give a run folder"):
        compare_runs(whole_run, tmp_path / "nothing")


def test_a_torn_line_does_not_count_and_a_damaged_one_is_named(
    whole_run: Path, other: Path
) -> None:
    log = other / "log.jsonl"
    log.write_text(f'{log.read_text()}{{"step": ')  # where a kill tore a line
    assert compare_runs(whole_run, other) == []
    log.write_text(f"{log.read_text()}\n")
    with pytest.raises(InputError, match=r"log\.jsonl: cannot be read as a log"):
        compare_runs(whole_run, other)
