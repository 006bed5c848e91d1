"""The benchmark of engines runs in a small form, and counts what the networks count."""

import shutil
import sys
from pathlib import Path

import pytest

from topseg.models.cost import count_cost

pytest.importorskip("matplotlib")
pytest.importorskip("topseg._native")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import engine
from topseg import _native

SIZE = (128, 192)


@pytest.mark.parametrize("name", engine.MODELS)
def test_stages_are_the_whole_network(name: str) -> None:
    stages = engine.count_stages(name, SIZE)
    assert sum(stage.flops for stage in stages.values()) == 2 * count_cost(name, size=SIZE)[1]
    assert all(stage.bytes > 0 for stage in stages.values())


def test_floor_is_the_larger_of_two() -> None:
    limits = engine.Limits(1e9, {1000: 2e9, 3000: 1e9})
    assert limits.floor(4e9, 1000) == 4
    assert limits.floor(0, 3000) == 3e-6
    assert limits.floor(0, 2000) == pytest.approx(2000 / 1.5e9)


def test_small_form_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    words = ["engine.py", "--models", "topformer_tiny", "--sizes", "64x96", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--seconds", "0", "--formats"])
    monkeypatch.setattr(engine, "RESULTS", tmp_path)
    monkeypatch.setattr(engine, "write_result", lambda name, title, body: written.append(body))
    engine.main()
    (text,) = written
    assert "| topformer_tiny | 64x96 | 1 | native, " in text
    limited = shutil.which("c++") and engine.FLAGS.keys() & set(_native.model_paths())
    assert ("| topformer_tiny | transformer |" in text) is bool(limited)
    assert (tmp_path / "engine.svg").is_file() is bool(limited)
