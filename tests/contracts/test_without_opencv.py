"""The core needs no OpenCV; what needs it names the line that installs it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from topseg.core.installing import pip_install
from topseg.synthetic.samples import SAMPLES

MODEL = "topformer-tiny-camvid"
BLOCKED = "import sys; sys.modules['cv2'] = None\n"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Run:
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        code = f"{BLOCKED}from topseg.cli import main\nsys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True)

    return call


def test_predict_writes_everything(run: Run, tmp_path: Path) -> None:
    kinds = ("overlay", "legend", "color", "probability", "probabilities", "json")
    done = run(
        "predict", MODEL, SAMPLES[0], "--out", tmp_path / "masks", *(f"--{kind}" for kind in kinds)
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "masks").glob("0_0*"))) == 1 + len(kinds)
    with PIL.Image.open(tmp_path / "masks/0_0.png") as mask:
        assert np.asarray(mask).shape == (192, 256)


def test_python_needs_none() -> None:
    code = f"""{BLOCKED}
import topseg
from topseg.inference.tta import Views
from topseg.serve.workers.pipeline import Pipeline, Segment
found = topseg.load({MODEL!r})({str(SAMPLES[0])!r}, keep_logits=True)
found.polygons(), found.to_coco(), found.to_geojson(), found.to_json(), found.probabilities()
found.overlay(legend=True), found.color(), found.rle(), found._repr_png_()
pipeline = Pipeline(topseg.load({MODEL!r}).runtime)
data = open({str(SAMPLES[0])!r}, "rb").read()
answers = pipeline([Segment(data, output) for output in ("mask", "overlay", "color", "json")])
assert all(answer.body and not answer.error for answer in answers), answers
for verb in (topseg.evaluate, topseg.check, topseg.train):
    try:
        verb({MODEL!r}, "data")
    except topseg.InputError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data, train = (pip_install(f"topseg[{extra}]") for extra in ("data", "train"))
    expected = [f"this needs cv2: {data}"] * 2 + [f"this needs cv2: {train}"]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("words", [("models",), ("doctor",), ("bench", MODEL, "--seconds", "0")])
def test_commands_of_the_core(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("evaluate", MODEL, "photos"), "data"),
        (("check", "photos"), "data"),
        (("train", "topformer_tiny", "data.root=photos", "--out", "no_run"), "train"),
        (("demo", "--out", "no_demo"), "train"),
    ],
)
def test_the_others_name_their_extra(run: Run, words: tuple[str, ...], extra: str) -> None:
    done = run(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == f"this needs cv2: {pip_install(f'topseg[{extra}]')}"
