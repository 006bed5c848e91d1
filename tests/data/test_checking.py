"""Checking a data set: everything wrong with it in one report."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from topseg.core.errors import InputError
from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.report import Report

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two splits without a problem: every image is different, every class is there."""
    for number, name in enumerate(("train/a", "train/b", "val/c")):
        save(tmp_path / f"images/{name}.png", np.full((4, 6, 3), number, np.uint8))
        save(tmp_path / f"masks/{name}.png", np.uint8([[0, 0, 0, 0, 1, 255]] * 4))
    return tmp_path


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def found(root: Path, **more: Any) -> Report:
    return check(DataConfig(root=str(root), classes=("sky", "road")), **more)


def kinds(report: Report) -> dict[str, int]:
    names = [problem.kind for problem in report.problems]
    return {name: names.count(name) for name in names}


def test_a_good_data_set(root: Path) -> None:
    report = found(root)
    assert not report.problems
    train = report.splits["train"]
    assert (train.images, train.pixels.tolist(), train.ignored) == (2, [32, 8], 8)
    assert train.images_with.tolist() == [2, 2]
    assert (train.smallest, train.largest) == ((4, 6), (4, 6))
    assert "train: 2 images, 6x4 pixels" in str(report)
    assert "sky" in str(report)
    assert "66.67%" in str(report)
    assert str(report).endswith("no problems found")


@pytest.mark.parametrize("workers", [1, 3])
def test_everything_at_once(root: Path, workers: int) -> None:
    (root / "masks/train/a.png").unlink()
    save(root / "images/train/d.png", np.full((4, 6, 3), 77, np.uint8))
    save(root / "masks/train/d.png", np.full((4, 6), 2, np.uint8))
    (root / "images/train/e.jpg").write_bytes(b"text")
    save(root / "masks/train/e.png", np.full((4, 6), 9, np.uint8))
    save(root / "images/train/f.png", np.full((5, 9, 3), 78, np.uint8))
    save(root / "masks/train/f.png", np.full((4, 6), 255, np.uint8))
    save(root / "masks/train/z.png", np.zeros((4, 6), np.uint8))
    save(root / "images/val/b_again.png", np.full((4, 6, 3), 1, np.uint8))
    save(root / "masks/val/b_again.png", np.zeros((4, 6), np.uint8))
    report = found(root, workers=workers)
    assert kinds(report) == {
        "mask without an image": 1,
        "missing mask": 1,
        "mask": 2,
        "unreadable image": 1,
        "size": 1,
        "mask without a class": 1,
        "picture in both splits": 1,
    }
    assert len(report.errors) == 5
    text = str(report)
    for part in (
        "5 errors",
        "3 warnings",
        "masks/train/a.png: no such file, the mask of images/train/a.png",
        "masks/train/d.png: value 2 at row 0, column 0 (24 such pixels), expected 0-1, 255",
        "masks/train/e.png: value 9",
        "images/train/e.jpg: not readable as an image",
        "masks/train/f.png: got 6x4 pixels, expected 9x5 as its image",
        "masks/train/f.png: no pixel has a class",
        "masks/train/z.png",
        "images/val/b_again.png: in val and, the same picture, in train (images/train/b.png)",
        "train: 5 images, 6x4 to 9x5 pixels",
    ):
        assert part in text


def test_doubles_within_a_split(root: Path) -> None:
    (root / "train.txt").write_text(
        "images/train/a.png masks/train/a.png\n" * 2 + "images/train/x.png masks/train/b.png\n"
    )
    save(root / "images/train/x.png", np.full((4, 6, 3), 0, np.uint8))
    (root / "val.txt").write_text("images/val/c.png masks/val/c.png\nimages/val/none.png m.png\n")
    report = check(DataConfig(root=str(root), layout="list", classes=("sky", "road")))
    assert kinds(report) == {"picture twice in a split": 2, "missing image": 1, "missing mask": 1}
    assert "images/train/a.png: listed twice (train)" in str(report)
    assert "images/train/x.png: the same picture as images/train/a.png (train)" in str(report)


def test_classes_that_no_mask_has(root: Path) -> None:
    report = check(DataConfig(root=str(root), classes=("sky", "road", "tree")))
    assert [p.text for p in report.warnings] == [
        f"{s}: no pixel of 'tree'" for s in ("train", "val")
    ]
    assert not report.errors


def test_a_split_may_be_missing(root: Path) -> None:
    report = check(DataConfig(root=str(root), classes=("sky", "road"), val="test"))
    assert kinds(report) == {"val split": 1}
    assert report.splits["train"].images == 2
    assert "no split 'test' (data.val)" in str(report)


def test_what_masks_mean_must_be_known(root: Path) -> None:
    with pytest.raises(InputError, match=r"data.classes: none given"):
        check(DataConfig(root=str(root)))
    with pytest.raises(InputError, match=r"data.label_map: 0: got class 5"):
        check(DataConfig(root=str(root), classes=("a",), label_map={0: 5}))


def test_sizes_are_told_without_masks(root: Path) -> None:
    report = check(DataConfig(root=str(root), classes=("sky",)))
    assert kinds(report) == {"mask": 3}
    assert "train: 2 images, 6x4 pixels" in str(report)


def test_long_reports_are_cut(root: Path) -> None:
    for number in range(30):
        save(root / f"masks/train/x{number}.png", np.zeros((4, 6), np.uint8))
    report = found(root)
    assert "... and 20 more" in str(report)
    assert "x29.png" in report.text(limit=None)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_ade20k_samples() -> None:
    folder = str(SHARED / "ade20k_sample")
    report = check(DataConfig(layout="ade20k", root=folder, train=".", val="."))
    assert not report.errors
    assert report.splits["val"].images == 3
    assert kinds(report)["picture in both splits"] == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_camvid_has_no_problem() -> None:
    report = check(DataConfig(layout="camvid", root=str(SHARED / "camvid")))
    assert report.problems == []
    assert {name: split.images for name, split in report.splits.items()} == {
        "train": 367,
        "val": 101,
    }
