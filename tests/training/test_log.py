"""The log: lines for programs, cut back to what was checkpointed."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.scores import Scores
from topseg.training.log import Log
from topseg.training.trackers import Tracker

VALUES = {"loss": 0.5, "lr": 0.1, "images_per_s": 9.0, "data_wait": 0.25, "memory_mb": 100.0}


def open_log(run: Path, size: int = 0, main: bool = True, trackers: Sequence[Tracker] = ()) -> Log:
    return Log(run, start=0, steps=9, size=size, main=main, trackers=trackers)


def test_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 0, 1]), np.array([0, 1, 1]))
    with open_log(tmp_path) as log:
        log.step(3, VALUES | {"grad_norm": math.inf})
        log.scores(3, Scores(("a", "b", "c"), confusion, images=1), 0.25)
    step, scores = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert step == {"step": 3, **VALUES, "grad_norm": None}
    assert (scores["miou"], scores["val_loss"]) == (0.5, 0.25)
    assert scores["iou"] == {"a": 0.5, "b": 0.5, "c": None}  # c is nowhere
    out = capsys.readouterr().out
    assert "step 3/9  loss 0.5000 lr 1.00e-01 9.0 images/s wait 25% 100 MB" in out
    assert "mIoU 0.5000" in out


def test_is_cut_back(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.step(1, VALUES)
        size = log.flush()
        log.step(2, VALUES)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # where a kill tore a line
    with open_log(tmp_path, size) as log:
        assert log.flush() == size  # what a checkpoint notes before anything is logged
        log.step(2, VALUES)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_only_the_first_process_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_log(tmp_path, main=False) as log:
        log.step(1, VALUES)
        log.say("hello")
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""
