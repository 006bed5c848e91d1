"""Preflight: masks are read before a run, once."""

import itertools
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from topseg.core.errors import InputError
from topseg.data.config import DataConfig
from topseg.data.dataset import open_dataset
from topseg.data.preflight import read_masks_first


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPSEG_CACHE", str(tmp_path / "cache"))
    for split, count in {"train": 200, "val": 3}.items():
        for index in range(count):
            save(tmp_path / f"data/images/{split}/{index}.png", 0)
            save(tmp_path / f"data/masks/{split}/{index}.png", index % 2)
    return tmp_path / "data"


def save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((2, 2), value, np.uint8)).save(path)


def read(root: Path, classes: tuple[str, ...] | None = ("a", "b"), **more: object) -> int:
    config = DataConfig(root=str(root), classes=classes)
    splits = open_dataset(config, "train"), open_dataset(config, "val")
    return read_masks_first(config, *splits, **more)  # type: ignore[arg-type]


def test_unchanged_masks_are_read_once(root: Path) -> None:
    assert read(root) == 203
    assert read(root) == 0
    save(root / "masks/val/1.png", 9)
    with pytest.raises(InputError, match=r"val/1.png: value 9 .*data.ignore_index"):
        read(root)
    assert read(root, tuple("abcdefghij")) == 203


def test_where_time_is_short_a_sample_of_train_is_read_and_all_of_val(root: Path) -> None:
    ticks = itertools.count(0, 40)
    assert read(root, clock=lambda: float(next(ticks))) == 3 + 64
    save(root / "masks/val/2.png", 9)
    with pytest.raises(InputError, match=r"val/2.png: value 9"):
        read(root, seconds=0)


def test_black_and_white_masks(root: Path) -> None:
    for path in (root / "masks").rglob("*.png"):
        save(path, 255 if int(path.stem) % 2 else 0)
    for seconds in (0, 60):  # of a sample, and of all
        with pytest.raises(InputError, match=r"0 and 255 only.*'data.label_map=\{0: 0, 255: 1\}'"):
            read(root, seconds=seconds)


def test_fewer_classes_in_a_file_are_noticed(root: Path) -> None:
    (root / "classes.txt").write_text("a\nb\n")
    assert read(root, None) == 203
    (root / "classes.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"value 1 at row 0, column 0"):
        read(root, None)
