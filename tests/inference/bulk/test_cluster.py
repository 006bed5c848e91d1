"""A Ray cluster does what threads do: the same files, the same manifest."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.cli import main

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs ray: pip install 'topseg[ray]'"
)


def _files(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_the_same_files_as_by_threads(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b/a", "b/zwölf", "c", "d"):
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 96, 3), np.uint8)).save(path)
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")

    def words(out: str) -> list[str]:
        return ["predict", str(trained.folder), "in", "--color", "--out", out]

    command = [sys.executable, "-m", "topseg", *words("ray"), "--executor", "ray", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "1 of 6 images could not be read" in done.stderr
    (tmp_path / "in" / "broken.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(words("threads")) == 0
        assert _files(tmp_path / "ray") == _files(tmp_path / "threads")
        capsys.readouterr()
        assert main(words("ray")) == 0  # threads take up what a cluster has done
    assert "5 images, 5 of them done before" in capsys.readouterr().out
