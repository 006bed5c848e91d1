"""Runs that are broken off, repeated, divided or changed: each image is done once and rightly."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.cli import main
from topseg.core.errors import InputError, UnreadableError
from topseg.core.labels import LabelSet
from topseg.inference.bulk import Shard, Summary, Threads, predict_files
from topseg.inference.bulk.manifest import stamp
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Views


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, 00.png to 11.png."""
    rng = np.random.default_rng(0)
    for index in range(12):
        _draw(tmp_path / "in" / f"{index:02d}.png", rng)
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def _draw(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(path)


def _masks(out: Path) -> dict[str, bytes]:
    """Everything but the manifests, temporary files too."""
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    return {name: data for name, data in files.items() if not name.startswith("manifest")}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _run(predictor: Predictor, folder: Path, out: Path, **more: Any) -> tuple[Summary, int]:
    """Return the summary, and how many images the network saw."""
    predictor.runtime.seen.clear()  # type: ignore[attr-defined]
    summary = predict_files(Threads([predictor]), [folder], out, **more)
    return summary, len(predictor.runtime.seen)  # type: ignore[attr-defined]


def test_a_second_run_does_nothing_and_says_the_same(
    predictor: Predictor, folder: Path, out: Path
) -> None:
    first, seen = _run(predictor, folder, out)
    assert (first.images, first.before, seen) == (12, 0, 12)
    masks = _masks(out)
    second, seen = _run(predictor, folder, out)
    assert (second.images, second.before, seen) == (12, 12, 0)
    assert (second.shares, _masks(out)) == (first.shares, masks)


def test_only_what_changed_is_done_again(predictor: Predictor, folder: Path, out: Path) -> None:
    _run(predictor, folder, out, color=True)
    _draw(folder / "03.png", np.random.default_rng(9))
    _draw(folder / "99.png", np.random.default_rng(9))
    (out / "05_color.png").unlink()
    (out / "06.png").write_bytes(b"spoiled")
    summary, seen = _run(predictor, folder, out, color=True)
    assert (summary.images, summary.before, seen) == (13, 9, 4)
    masks = _masks(out)
    _run(predictor, folder, out.with_name("anew"), color=True)
    assert masks == _masks(out.with_name("anew"))


def test_fewer_outputs_are_done_and_more_are_not(
    predictor: Predictor, folder: Path, out: Path
) -> None:
    seen = [_run(predictor, folder, out, color=color)[1] for color in (True, False, True)]
    assert seen == [12, 0, 0]
    assert _run(predictor, folder, out, overlay=True)[1] == 12


def test_another_model_does_all_again(
    predictor: Predictor, make_runtime: Callable[..., Any], folder: Path, out: Path
) -> None:
    _run(predictor, folder, out)
    other = LabelSet(("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 254)))
    flipped = Predictor(make_runtime(), views=Views(flip=True))
    assert _run(Predictor(make_runtime()), folder, out)[1] == 0
    assert _run(Predictor(make_runtime(other)), folder, out)[1] == 12
    assert _run(flipped, folder, out)[0].before == 0
    # Lines of the first run are still there, its masks are not.
    assert _run(predictor, folder, out)[1] == 12


def test_what_failed_is_tried_again(predictor: Predictor, folder: Path, out: Path) -> None:
    (folder / "04.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(UnreadableError, match="1 of 12"):
            _run(predictor, folder, out)
    errors = [line["error"] for line in _lines(out / "manifest.jsonl") if "error" in line]
    assert ["04.png" in error for error in errors] == [True, True]
    _draw(folder / "04.png", np.random.default_rng(4))
    assert _run(predictor, folder, out)[1] == 1


def test_many_failures_are_counted_and_listed_in_the_manifest(
    predictor: Predictor, folder: Path, out: Path
) -> None:
    (folder / "list.txt").write_text("".join(f"gone{index}.jpg\n" for index in range(30)))
    with pytest.raises(UnreadableError, match="30 of 30 images") as caught:
        _run(predictor, folder / "list.txt", out)
    _, *lines, last = str(caught.value).splitlines()
    assert (len(lines), "manifest.jsonl" in last) == (20, True)
    assert len(_lines(out / "manifest.jsonl")) == 30


@pytest.mark.parametrize("cut", [1, 30])
def test_a_line_that_a_crash_cut_off(
    predictor: Predictor, folder: Path, out: Path, cut: int
) -> None:
    _run(predictor, folder, out)
    manifest = out / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-cut])
    expected = 0 if cut == 1 else 1  # a line without its end is whole but for the line break
    assert _run(predictor, folder, out)[1] == expected
    assert _run(predictor, folder, out)[1] == 0


def test_leftovers_of_a_killed_run_are_removed(
    predictor: Predictor, folder: Path, out: Path
) -> None:
    out.mkdir()
    for name in (".03.png.abcd_123", ".04.png.abcd_123", ".other.png.abcd_123", ".03.png.kept"):
        (out / name).touch()
        if not name.startswith(".04"):  # this one might be being written
            os.utime(out / name, (1, 1))
    _run(predictor, folder, out)
    left = {name for name in _masks(out) if name.startswith(".")}
    assert left == {".04.png.abcd_123", ".other.png.abcd_123", ".03.png.kept"}


def test_two_shards_at_a_time_make_one_run(
    make_runtime: Callable[..., Any], folder: Path, out: Path
) -> None:
    """In one folder; each waits at its first image until the other is at work."""
    meeting = threading.Barrier(2, timeout=10)

    def shard(index: int) -> Summary:
        runtime = make_runtime()
        plain, first = runtime._logits, iter([True])

        def logits(blocks: Any) -> Any:
            if next(first, False):
                meeting.wait()
            return plain(blocks)

        runtime._logits = logits
        return predict_files(Threads([Predictor(runtime)]), [folder], out, shard=Shard(index, 2))

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(shard, (1, 2)))
    assert sum(part.images for part in parts) == 12
    whole = Predictor(make_runtime())
    _run(whole, folder, out.with_name("whole"))
    assert _masks(out) == _masks(out.with_name("whole"))
    assert {path.name for path in out.glob("*.jsonl")} == {
        "manifest-1-of-2.jsonl",
        "manifest-2-of-2.jsonl",
    }
    assert _run(whole, folder, out)[1] == 0  # one run takes up what shards have done


def test_a_manifest_that_cannot_be_written(predictor: Predictor, folder: Path, out: Path) -> None:
    (out / "manifest.jsonl").mkdir(parents=True)
    with pytest.raises(InputError, match=r"manifest\.jsonl: cannot write here"):
        _run(predictor, folder, out)


def test_killed_in_the_middle(trained: Bundle, folder: Path, out: Path) -> None:
    """Killed as soon as a first image is done, the network being slow beside that."""
    names = [f"{index:02d}.png" for index in range(12)]
    (folder / "list.txt").write_text("\n".join(names))
    words = ["predict", str(trained.folder), str(folder / "list.txt"), "--workers", "1", "--out"]
    run = subprocess.Popen([sys.executable, "-m", "topseg", *words, str(out)])
    manifest = out / "manifest.jsonl"
    try:
        while run.poll() is None and not (manifest.is_file() and manifest.stat().st_size):
            time.sleep(0.001)
        run.kill()
    finally:
        run.kill()
        assert run.wait() == -signal.SIGKILL
    noted = [line["output"] for line in _lines(out / "manifest.jsonl")]
    before = {name: stamp(out / f"{name}.png") for name in noted}
    assert before
    for path in out.glob(".*"):  # begun when it was killed, an hour ago
        os.utime(path, (time.time() - 3600,) * 2)

    assert main([*words, str(out)]) == 0
    assert main([*words, str(out.with_name("unbroken"))]) == 0
    assert set(_masks(out)) == set(names)
    assert _masks(out) == _masks(out.with_name("unbroken"))
    assert {name: stamp(out / f"{name}.png") for name in noted} == before
    lines = _lines(out / "manifest.jsonl")
    assert sorted(line["output"] for line in lines) == [name.removesuffix(".png") for name in names]


def test_list_from_standard_input(
    trained: Bundle, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"03.png\n05.png\n")))
    monkeypatch.chdir(folder)
    assert main(["predict", str(trained.folder), "-", "--out", str(out)]) == 0
    assert set(_masks(out)) == {"03.png", "05.png"}


def test_exit_code_of_a_run_with_failures(
    trained: Bundle, folder: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "04.png").write_bytes(b"no image")
    words = ["predict", str(trained.folder), str(folder), "--out", str(out), "--shard"]
    codes = [main([*words, f"{index}/2"]) for index in (1, 2)]
    assert sorted(codes) == [0, 3]
    text = capsys.readouterr()
    assert "04.png" in text.err
    assert "images, 0 of them done before" in text.out
    assert main([*words, "3/2"]) == 2
    assert main([*words, "1/2", "--address", "auto"]) == 2
