"""The folder that the documents speak of, and the site that is made of them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from topseg.cli import main
from topseg.media.drawing import picture_jpeg
from topseg.synthetic.scenes import LABELS, draw_scene, write_scenes

sys.path.insert(0, str(Path(__file__).parents[1]))
from clips import write_clip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents' commands and snippets find in their folder."""
    pytest.importorskip("torch", reason="torch is not installed")
    folder = tmp_path_factory.mktemp("documents")
    before = os.getcwd()
    os.chdir(folder)
    try:
        write_scenes(folder / "photos", train=2, val=1)
        shutil.make_archive("photos", "zip", "photos")
        scene = cv2.resize(draw_scene(0, 0).image, (128, 96))
        for name in ("street.jpg", "photo.jpg", "holiday/one.jpg", "photos/more/left_1.jpg"):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(picture_jpeg(scene))
        (folder / "list.txt").write_text("street.jpg\nholiday/one.jpg\n")
        (folder / "survey").mkdir()
        for name in ("map.tif", "survey/a.tif"):
            cv2.imwrite(str(folder / name), np.tile(scene, (2, 2, 1)))
        recipe = {
            "data": {"root": "photos", "classes": list(LABELS.names)},
            "train": {
                "steps": 2,
                "batch_size": 2,
                "crop": [64, 64],
                "workers": 0,
                "augment": [{"name": "pad_crop"}],
            },
            "resize": {"short_side": 64},
        }
        (folder / "recipe.yaml").write_text(yaml.dump(recipe))
        (folder / "runs").mkdir()
        assert main(["train", "recipe.yaml", "--out", "runs/mine"]) == 0
        assert main(["export", "runs/mine", "--out", "bundle", "--formats", "onnx"]) == 0
        if importlib.util.find_spec("av"):
            write_clip(folder / "clip.mp4", 6)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="session")
def site() -> Path:
    """The documentation site, built by what `make docs` runs."""
    for package in ("zensical", "mkdocstrings"):
        pytest.importorskip(package, reason="the extra docs is not installed")
    for command in (["docs/site"], ["-m", "zensical", "build", "--clean", "--strict"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return ROOT / "build/site"
