"""Trackers: each package is told everything, in its own words, and goes on after a resume."""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import numpy as np
import pytest

from topseg.core.errors import InputError
from topseg.training.trackers import TRACKERS, find_trackers

PICTURE = np.zeros((2, 4, 3), np.uint8)


@pytest.fixture
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    fake = MagicMock()
    fake.init.return_value.id = "abc"
    fake.start_run.return_value = SimpleNamespace(info=SimpleNamespace(run_id="abc"))
    monkeypatch.setitem(sys.modules, request.param, fake)
    return fake


def use(name: str, run: Path, step: int) -> None:
    (make,) = find_trackers([name])
    tracker = make(run, step, {"seed": 0})
    tracker.scalars(step + 1, {"train/loss": 0.5})
    tracker.picture(step + 1, "samples/a", PICTURE)
    tracker.close()


@pytest.mark.parametrize("package", ["wandb"], indirect=True)
def test_wandb(package: MagicMock, tmp_path: Path) -> None:
    use("wandb", tmp_path, 0)
    use("wandb", tmp_path, 1)
    assert [one.kwargs["id"] for one in package.init.call_args_list] == [None, "abc"]
    run = package.init.return_value
    assert run.log.call_args_list[0] == call({"train/loss": 0.5}, step=1)
    assert run.log.call_args_list[1].args[0].keys() == {"samples/a"}
    assert run.finish.call_count == 2


@pytest.mark.parametrize("package", ["mlflow"], indirect=True)
def test_mlflow(package: MagicMock, tmp_path: Path) -> None:
    use("mlflow", tmp_path, 0)
    use("mlflow", tmp_path, 1)
    assert [one.kwargs["run_id"] for one in package.start_run.call_args_list] == [None, "abc"]
    assert package.log_dict.call_count == 1
    assert package.log_metrics.call_args_list[0] == call({"train/loss": 0.5}, step=1)
    assert package.log_image.call_args_list[0] == call(PICTURE, key="samples/a", step=1)
    assert package.end_run.call_count == 2


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    use("tensorboard", tmp_path, 0)
    assert list((tmp_path / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("name", TRACKERS)
def test_a_package_that_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"tracker {name}: not installed; pip install {name}"):
        find_trackers([name])


def test_an_unknown_one() -> None:
    with pytest.raises(InputError, match=r"tracker: got 'wandbb', .*, did you mean 'wandb'\?"):
        find_trackers(["wandbb"])
