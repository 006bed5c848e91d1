"""The scripts and the notebook of examples/ run as they are, on drawn scenes."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from topseg.synthetic.scenes import write_scenes

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = "topformer-tiny-camvid"
SHORT = (
    "train.steps=2",
    "train.batch_size=2",
    "train.eval_every=2",
    "train.save_every=2",
    "train.workers=0",
    "train.crop=[64, 64]",
    "resize.short_side=64",
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts") / "scenes"
    write_scenes(folder, train=2, val=2)
    return folder


def script(name: str, *words: object) -> str:
    command = [sys.executable, EXAMPLES / name, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def test_predict_folder(scenes: Path, tmp_path: Path) -> None:
    out = script("predict_folder.py", MODEL, scenes / "images", tmp_path)
    assert len(list((tmp_path / "train").glob("*.png"))) == 2
    shares = [float(line.split(" %")[0]) for line in out.splitlines()]
    assert sum(shares) == pytest.approx(100, abs=0.1)


def test_finetune_and_compare(scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = script("finetune.py", scenes, tmp_path / "run", *SHORT)
    assert "Scores(mIoU " in out
    assert "look at these first: " in out
    out = script("compare_models.py", tmp_path / "run", tmp_path / "run", scenes)
    assert "no difference: mIoU +0.00 points" in out
    assert out.count("0.0 % of the pixels differ") == 2


def test_label_next(scenes: Path) -> None:
    out = script("label_next.py", MODEL, scenes / "images", 3)
    listed = [Path(line) for line in out.splitlines()]
    assert len(set(listed)) == 3
    assert all(path.is_file() for path in listed)


def test_notebook() -> None:
    """Run the cells as a notebook does; training is cut short."""
    pytest.importorskip("torch")
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text())
    space: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        assert not cell.get("outputs")  # the file is kept without
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            source = source.replace("train=80, val=20", "train=2, val=1")
            source = source.replace('"train.steps": 100', '"train.batch_size": 2, "train.steps": 2')
            shown.append(run_cell(source, space))
    pictures = [value._repr_png_() for value in shown if hasattr(value, "_repr_png_")]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * 2
    assert shown[0] is not None
    assert repr(shown[0]).startswith("Predictor(topformer_tiny, 11 classes")
    assert any("<table>" in value._repr_html_() for value in shown if hasattr(value, "_repr_html_"))


def run_cell(source: str, space: dict[str, Any]) -> Any:
    """Execute a cell; return the value of its last line, where that is an expression."""
    lines = ast.parse(source).body
    value = lines.pop().value if isinstance(lines[-1], ast.Expr) else None
    exec(compile(ast.Module(lines, []), "cell", "exec"), space)
    return eval(compile(ast.Expression(value), "cell", "eval"), space) if value else None
