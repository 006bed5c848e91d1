import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.data.checking import check
from topseg.data.dataset import open_dataset
from topseg.data.sample import Sample
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.scores import Scores
from topseg.recipe import read_data
from topseg.synthetic.scenes import LABELS, SIZE, draw_scene, write_scenes

K = LABELS.num_classes


@pytest.fixture(scope="module")
def train() -> list[Sample]:
    return [draw_scene(0, index) for index in range(40)]


@pytest.fixture(scope="module")
def val() -> list[Sample]:
    """The first of the scenes that the demo holds out."""
    return [draw_scene(0, index) for index in range(400, 430)]


def test_a_scene_is_a_function_of_seed_and_index(val: list[Sample]) -> None:
    code = (
        "import hashlib; from topseg.synthetic.scenes import draw_scene; s = draw_scene(0, 402);"
        "print(hashlib.sha256(s.image.tobytes() + s.mask.tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == _digest(val[2])
    assert _digest(draw_scene(0, 402)) == _digest(val[2])
    assert len({_digest(s) for s in (*val, draw_scene(1, 402))}) == len(val) + 1


def test_scenes_hold_every_class(train: list[Sample]) -> None:
    assert train[0].image.shape == (*SIZE, 3)
    counts = sum(np.bincount(s.mask.ravel(), minlength=256) for s in train)
    assert (counts[:K] > 0.01 * counts.sum()).all()
    assert counts[K:255].sum() == 0
    assert 0.002 < counts[255] / counts.sum() < 0.03  # poles and rims
    present = np.mean([np.isin(np.arange(K), s.mask) for s in train], axis=0)
    assert (present > 0.4).all()


def test_things_are_large_enough_for_the_stride(train: list[Sample]) -> None:
    """A disc of 7 pixels fits into most of every class, so stride-8 logits can show it."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    for label in range(K):
        masks = [(s.mask == label).astype(np.uint8) for s in train]
        opened = [cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc) for mask in masks]
        assert np.sum(opened) > 0.8 * np.sum(masks), LABELS.names[label]


def test_the_nearest_colour_does_not_tell_the_class(train: list[Sample], val: list[Sample]) -> None:
    colors, truth = _pixels(train)
    means = np.stack([colors[truth == label].mean(axis=0) for label in range(K)])

    def classify(image: NDArray[np.uint8]) -> NDArray[np.intp]:
        distances = [np.square(image - mean).sum(axis=-1) for mean in means]
        return np.argmin(distances, axis=0)

    assert _score(val, classify).miou < 0.3


@pytest.mark.parametrize("balanced", [False, True])
def test_the_commonest_class_of_a_colour_does_not_tell_it(
    balanced: bool, train: list[Sample], val: list[Sample]
) -> None:
    colors, truth = _pixels(train)
    votes = np.zeros((16**3, K))
    np.add.at(votes, (_bin(colors), truth), 1)
    if balanced:
        votes /= votes.sum(axis=0)
    assert _score(val, lambda image: votes.argmax(axis=1)[_bin(image)]).miou < 0.35


def test_written_scenes_are_a_data_set_without_faults(tmp_path: Path) -> None:
    done = []
    write_scenes(tmp_path, 5, train=3, val=2, progress=lambda *at: done.append(at))
    assert done[-1] == (5, 5)
    config = read_data(tmp_path)
    assert not check(config).errors
    train, val = open_dataset(config, "train"), open_dataset(config, "val")
    assert (len(train), len(val)) == (3, 2)
    assert val.labels == LABELS
    drawn, read = draw_scene(5, 3), val[0]
    assert np.array_equal(read.mask, drawn.mask)
    difference = np.abs(read.image.astype(int) - drawn.image).mean()
    assert 0 < difference < 5  # a JPEG


def test_the_same_files_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scenes(tmp_path / name, 1, train=2, val=1)
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_no_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got 4 and 0, expected at least one"):
        write_scenes(tmp_path, train=4, val=0)


def _digest(sample: Sample) -> str:
    return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes()).hexdigest()


def _pixels(samples: list[Sample]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    colors = np.concatenate([s.image.reshape(-1, 3) for s in samples])
    truth = np.concatenate([s.mask.ravel() for s in samples])
    return colors[truth < K], truth[truth < K]


def _bin(colors: NDArray[np.uint8]) -> NDArray[np.intp]:
    return (colors // 16).astype(np.intp) @ np.array([256, 16, 1])


def _score(samples: list[Sample], classify: object) -> Scores:
    confusion = ConfusionMatrix(K, LABELS.ignore_index)
    for sample in samples:
        confusion.update(sample.mask, classify(sample.image))  # type: ignore[operator]
    return Scores(LABELS.names, confusion)
