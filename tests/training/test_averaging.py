"""Averaging: the mean of weights, of models that have one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from topseg.bundle.bundle import read_bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, Metadata
from topseg.core.errors import InputError
from topseg.training.averaging import average_models
from topseg.training.checkpoint import write_tensors

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, whole_run: Path) -> Write:
    """Write a bundle of one weight and a counter."""
    metadata = read_bundle(whole_run / "best").metadata

    def write(name: str, value: float, **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        tensors = {"x": torch.tensor([value, 1.0]), "steps": torch.tensor(int(value))}
        write_tensors(folder / WEIGHTS, tensors)
        changed: Metadata = dataclasses.replace(metadata, **changes)  # type: ignore[arg-type]
        write_metadata(folder, changed)
        return folder

    return write


def test_mean(write: Write, tmp_path: Path) -> None:
    models = [write("a", 1.0), write("b", 2.0), write("c", 6.0)]
    bundle = average_models(models, tmp_path / "mean")
    tensors = load_file(bundle.weights)
    assert tensors["x"].tolist() == [3.0, 1.0]
    assert (tensors["steps"].dtype, tensors["steps"].item()) == (torch.int64, 3)
    assert bundle.metadata.metrics == {}
    assert "/a, " in bundle.metadata.origin


def test_takes_the_best_of_a_run(write: Write, tmp_path: Path) -> None:
    for step, value in ((1, 1.0), (2, 3.0)):
        write(f"run/top/step_{step:08d}", value)
    write("run/best", 9.0)
    tensors = load_file(average_models([tmp_path / "run"], tmp_path / "mean").weights)
    assert tensors["x"].tolist() == [2.0, 1.0]


def test_refuses(write: Write, tmp_path: Path) -> None:
    one, other = write("a", 1.0), write("b", 2.0, classes=("square", "ground"))
    with pytest.raises(InputError, match="differ in their classes"):
        average_models([one, other], tmp_path / "mean")
    with pytest.raises(InputError, match=r"got 1 model, expected two or more.*keep_best"):
        average_models([one], tmp_path / "mean")
    with pytest.raises(InputError, match="exists already"):
        average_models([one, one], other)
    assert not (tmp_path / "mean").exists()
