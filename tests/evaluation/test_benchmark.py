"""The benchmark measures every stage of the way a user's image takes."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle
from topseg.cli import main
from topseg.core.errors import InputError
from topseg.evaluation.benchmark import (
    STAGES,
    Timing,
    bench,
    draw_photo,
    read_measurements,
    save,
)
from topseg.media.images import read_size


def test_timing_summarises_in_milliseconds() -> None:
    timing = Timing.of(np.arange(1, 102) / 1000)
    assert (timing.minimum, timing.median, timing.p90, timing.p99) == (1, 51, 91, 100)


def test_every_stage_of_every_configuration(exported: Bundle, tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "photo.jpg")
    assert read_size(photo) == (960, 1280)
    assert 150_000 < photo.stat().st_size < 500_000
    said: list[str] = []
    found = bench(
        exported,
        photo,
        runtimes=["onnx"],
        sizes=[(64, 96)],
        threads=[1, 2],
        seconds=0,
        progress=said.append,
    )
    assert said == ["onnx, 64x96, threads 1", "onnx, 64x96, threads 2"]
    assert [one.threads for one in found] == [1, 2]
    for one in found:
        assert tuple(one.stages) == STAGES
        assert one.image_size == (960, 1280)
        assert one.repeats == 10
        assert one.total.minimum >= sum(t.minimum for t in one.stages.values())
        assert one.model_bytes == (exported.folder / "model.onnx").stat().st_size
        assert one.memory_bytes > 2**24
    save(found, tmp_path / "out")
    tree = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert tree["measurements"][0]["stages"]["network"]["median"] > 0
    assert "| **image to mask** |" in (tmp_path / "out" / "bench.md").read_text()
    assert ET.parse(tmp_path / "out" / "bench.svg").getroot().tag.endswith("svg")


def test_wrong_file_of_measurements_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timing = {"minimum": 1.0, "median": 1.0, "p90": 1.0, "p99": 1.0}
    good = {
        "machine": "a phone",
        "runtime": "topseg-cli",
        "version": "topseg-cli 0.1.0",
        "threads": 1,
        "size": [64, 64],
        "image_size": [96, 96],
        "repeats": 10,
        "stages": dict.fromkeys(STAGES, timing),
        "total": timing,
        "model_bytes": 1,
        "memory_bytes": 1,
    }
    file = tmp_path / "phone.json"
    file.write_text(json.dumps({"measurements": [good]}))
    assert [one.machine for one in read_measurements(file)] == ["a phone"]
    for change, problem in (
        ({"stages": {"network": timing}}, "expected the stages decode, resize"),
        ({"threads": "many"}, "measurements.0.threads: got 'many'"),
        ({"extra": 1}, "measurements.0.extra: unknown key"),
    ):
        file.write_text(json.dumps({"measurements": [good | change]}))
        assert main(["bench", "topformer-tiny-camvid", "--import", str(file)]) == 2
        assert problem in capsys.readouterr().err
    file.write_text("[]")
    with pytest.raises(InputError, match="got a list, expected a mapping"):
        read_measurements(file)


def test_missing_graph_is_said(trained: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(trained.folder), "--runtimes", "onnx", "--seconds", "0"]
    assert main(words) == 2
    assert "has no onnx graph" in capsys.readouterr().err


def test_what_was_measured_is_printed_though_an_engine_is_missing(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(trained.folder), "--runtimes", "onnx", "torch", "--seconds", "0"]
    assert main([*words, "--size", "64x64", "--out", str(tmp_path)]) == 2
    text = capsys.readouterr().out
    assert "onnx: not measured: " in text
    assert "| torch " in text
    tree = json.loads((tmp_path / "bench.json").read_text())
    assert [one["runtime"] for one in tree["measurements"]] == ["torch"]


def test_an_engine_that_dies_is_not_the_end_of_the_others(
    trained: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os\n"
        "from topseg.runtimes.registry import Engine\n"
        "def die(bundle, **_):\n"
        "    os._exit(3)\n"
        "DIES = Engine(name='dies', label='dies', opener='deadly:die', distribution='topseg',\n"
        "              install='', needs_graph=False)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["bench", str(trained.folder), "--runtimes", "deadly:DIES", "torch", "--seconds", "0"]
    assert main([*words, "--size", "64x64"]) == 2
    text = capsys.readouterr().out
    assert "deadly:DIES: not measured: runtime deadly:DIES: its process ended" in text
    assert "| torch " in text
