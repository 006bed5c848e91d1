"""examples/plugin works as a stranger's package: installed apart, found by its entry points."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")  # a network is trained

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"

RECIPE = """
model: {{name: {model}}}
data: {{layout: {layout}, root: {root}, classes: [ground, square]}}
train: {{steps: 2, batch_size: 2, crop: [64, 64], workers: 0, eval_every: 2, save_every: 2,
  augment: [{{name: {transform}, amount: 8}}, {{name: pad_crop}}]}}
loss: [{{name: {loss}}}, {{name: dice}}]
resize: {{short_side: 64}}
"""
BY_NAME = {"model": "patchnet", "layout": "suffix", "transform": "noise", "loss": "brier"}
BY_PATH = {
    "model": "topseg_example.family:PATCHNET",
    "layout": "topseg_example.layout:SUFFIX",
    "transform": "topseg_example.transform:Noise",
    "loss": "topseg_example.loss:Brier",
}

Topseg = Callable[..., str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip installs it, without network."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed here")
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")  # the build writes beside its source
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site")]
    subprocess.run([*command, str(folder / "source")], check=True, timeout=300)
    return folder / "site"


@pytest.fixture(scope="module")
def topseg(site: Path) -> Topseg:
    """The command line with the package on its path: arguments -> what it printed."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "topseg", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / split).mkdir()
        for index in range(3):
            mask = np.zeros((64, 96), np.uint8)
            mask[10 : 40 + index, 20:60] = 1
            image = rng.integers(0, 60, (64, 96, 3), np.uint8)
            image[mask == 1] += 150
            Image.fromarray(image).save(root / split / f"{index}.jpg")
            Image.fromarray(mask).save(root / split / f"{index}_mask.png")
    return root


@pytest.fixture(scope="module")
def recipe(data: Path) -> Path:
    path = data / "recipe.yaml"
    path.write_text(RECIPE.format(root=data, **BY_NAME))
    return path


@pytest.fixture(scope="module")
def run(topseg: Topseg, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps with the package's network, loss, transform and layout."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    topseg("train", recipe, "--out", folder, "--device", "cpu")
    return folder


def scores(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("mIoU"))


def test_data_is_checked(topseg: Topseg, recipe: Path) -> None:
    assert "no problems found" in topseg("check", recipe)


def test_explanations_name_the_plugins(topseg: Topseg, recipe: Path) -> None:
    text = topseg("recipe", recipe)
    assert "suffix: SPLIT/photo.jpg and SPLIT/photo_mask.png in one folder" in text
    assert "brier: Brier score: squared distance of the probabilities from the truth." in text
    assert "noise: Add normal noise to every value." in text


def test_trains_and_evaluates_on_both_runtimes(topseg: Topseg, recipe: Path, run: Path) -> None:
    assert "brier" in (run / "recipe.yaml").read_text()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 2
    torch = topseg("evaluate", run, recipe, "--runtime", "torch")
    numpy = topseg("evaluate", run, recipe, "--runtime", "patchnet_numpy")
    assert scores(torch) == scores(numpy)


def test_exports_and_predicts(topseg: Topseg, data: Path, run: Path, tmp_path: Path) -> None:
    topseg("export", run, "--out", tmp_path / "bundle", "--formats", "onnx")
    masks = []
    for runtime in ("onnx", "patchnet_numpy"):
        where = ("--out", tmp_path / runtime, "--runtime", runtime)
        topseg("predict", tmp_path / "bundle", data / "val" / "0.jpg", *where)
        masks.append(np.asarray(Image.open(tmp_path / runtime / "0.png")))
    assert masks[0].shape == (64, 96)
    np.testing.assert_array_equal(*masks)


def test_parts_are_found_by_their_import_path(topseg: Topseg, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(root=data, **BY_PATH))
    topseg("train", path, "--out", tmp_path / "run", "--device", "cpu")
    assert "name: topseg_example.loss:Brier" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_mistakes_name_the_plugins(topseg: Topseg, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    wrong = BY_NAME | {"layout": "sufix", "transform": "nois", "loss": "brire"}
    path.write_text(RECIPE.format(root=data, **wrong))
    text = topseg("recipe", path, code=2)
    assert "data.layout: got 'sufix', did you mean 'suffix'?" in text
    assert "train.augment.0: got name 'nois', did you mean 'noise'?" in text
    assert "loss.0: got name 'brire', did you mean 'brier'?" in text
    path.write_text(RECIPE.format(root=data, **BY_NAME).replace("amount", "amuont"))
    text = topseg("recipe", path, code=2)
    assert "train.augment.0.noise.amuont: unknown key, did you mean 'amount'?" in text
    path.write_text(RECIPE.format(root=data, **BY_NAME | {"loss": "no_such_package:Loss"}))
    assert "loss.0: got name 'no_such_package:Loss'" in topseg("recipe", path, code=2)


def test_network_is_what_its_record_says(site: Path) -> None:
    code = (
        "from topseg.models import find_variant\n"
        "from topseg.models.cost import count_cost\n"
        "v = find_variant('patchnet')\n"
        "assert count_cost('patchnet') == (v.parameters, v.macs)\n"
    )
    env = os.environ | {"PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=120)
