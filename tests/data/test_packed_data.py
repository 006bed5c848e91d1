"""Data sets in a ZIP or TAR: every layout reads as its folder does."""

import dataclasses
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_dataset import SHARED, needs_shared

from topseg.core.errors import InputError
from topseg.core.storage import home
from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.dataset import Dataset, open_dataset
from topseg.data.frequency import count_pixels
from topseg.data.layouts.layout import Split
from topseg.recipe import read_data, read_recipe

FOLDER = ("images/train/a.png", "images/train/b.png"), ("masks/train/a.png", "masks/train/b.png")
LAYOUTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "folder": (*FOLDER, {"classes.txt": ("x", "y")}),
    "list": (
        ("a.png", "b.png"),
        ("c.png", "d.png"),
        {"train.txt": ("a.png c.png", "b.png d.png"), "classes.txt": ("x", "y")},
    ),
    "ade20k": (
        ("images/training/a.png", "images/training/b.png"),
        ("annotations/training/a.png", "annotations/training/b.png"),
        {},
    ),
    "cityscapes": (
        ("leftImg8bit/train/u/u_0_leftImg8bit.png",),
        ("gtFine/train/u/u_0_gtFine_labelIds.png",),
        {},
    ),
    "voc": (
        ("JPEGImages/a.png", "JPEGImages/b.png"),
        ("SegmentationClassAug/a.png", "SegmentationClassAug/b.png"),
        {"ImageSets/Segmentation/val.txt": ("c",)},
    ),
    "camvid": (
        ("train/a.png", "train/b.png"),
        ("trainannot/a.png", "trainannot/b.png"),
        {"train.txt": ("/x/train/a.png /x/trainannot/a.png", "/x/train/b.png /x/trainannot/b.png")},
    ),
}


def pack(folder: Path, kind: str, top: str = "") -> Path:
    """Make an archive beside a folder, its files below ``top``."""
    base = folder.parent if top else folder
    return Path(shutil.make_archive(f"{folder}-packed", kind, base, top or None))


def assert_equal(a: Dataset, b: Dataset) -> None:
    assert [a.name(i) for i in range(len(a))] == [b.name(i) for i in range(len(b))]
    assert a.labels == b.labels
    for x, y in zip(a, b, strict=True):  # type: ignore[call-overload]
        np.testing.assert_array_equal(x.image, y.image)
        np.testing.assert_array_equal(x.mask, y.mask)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tree: Any, layout: str, inside: bool, kind: str) -> None:
    tree.root = tree.root / "set"
    images, masks, lists = LAYOUTS[layout]
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        tree.image(image, value=10 + i)
        tree.mask(mask, values=[0, 1, 1, 1, 0, i])
    for name, lines in lists.items():
        tree.text(name, *lines)
    packed = pack(tree.root, kind, "set" if inside else "")
    plain = open_dataset(DataConfig(layout=layout, root=str(tree.root)), "train")
    assert len(plain) == len(images)
    assert_equal(open_dataset(DataConfig(layout=layout, root=str(packed)), "train"), plain)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_numpy_arrays_and_counts(tree: Any, kind: str) -> None:
    tree.root = tree.root / "set"
    (tree.root / "images").mkdir(parents=True)
    np.save(tree.root / "images/a.npy", np.full((4, 6, 3), 7, np.uint8))
    tree.mask("masks/a.png", values=1)
    config = DataConfig(root=str(pack(tree.root, kind)), classes=("x", "y"))
    assert (open_dataset(config, "train")[0].image == 7).all()
    assert count_pixels(config).pixels == (0, 24)


def test_a_dataset_yaml_in_an_archive(tree: Any) -> None:
    tree.root = tree.root / "set"
    tree.image("images/a.png")
    tree.mask("masks/a.png")
    tree.text("names.txt", "road")
    tree.text("dataset.yaml", "classes: names.txt", "val: 0.5")
    packed = pack(tree.root, "zip", "set")
    data = read_data(packed)
    assert data.val == 0.5
    assert data.root == str(packed / "set")
    assert open_dataset(read_data(packed, ["val=null"]), "train").labels.names == ("road",)
    tree.text("recipe.yaml", "train: {steps: 1}")
    recipe = tree.root / "recipe.yaml"
    assert read_recipe(recipe, [f"data.root={packed}"]).data.classes == "names.txt"
    assert read_recipe(recipe, [f"data={packed}"]).data.root == str(packed / "set")


def test_faults_are_told_with_the_path_inside(tree: Any) -> None:
    tree.root = tree.root / "set"
    tree.image("images/train/a.png", "images/train/b.png")
    tree.mask("masks/train/a.png", values=9)
    (tree.root / "images/train/c.png").write_bytes(b"no image")
    tree.mask("masks/train/c.png")
    packed = pack(tree.root, "zip")
    report = check(DataConfig(root=str(packed), classes=("x", "y")))
    texts = {problem.kind: problem.text for problem in report.errors}
    assert f"{packed}/images/train/c.png: not readable as an image" in texts["unreadable image"]
    assert f"{packed}/masks/train/b.png: no such file" in texts["missing mask"]
    assert f"{packed}/masks/train/a.png: value 9 at row 0" in texts["mask"]
    with pytest.raises(InputError, match=r"masks/train/b.png: no such file, the mask of 'images"):
        open_dataset(DataConfig(root=str(packed), classes=("x", "y")), "train")


def test_a_hostile_archive_is_one_problem_of_its_split(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    config = DataConfig(root=str(tmp_path / "x.zip"), classes=("x", "y"))
    with pytest.raises(InputError, match=r"x.zip: not readable as a ZIP"):
        open_dataset(config, "train")


def _sum(dataset: Dataset, index: int) -> int:
    sample = dataset[index]
    return int(sample.image.sum()) + int(sample.mask.sum())


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_processes_read_at_once(tree: Any, kind: str, start: str) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this system")
    tree.root = tree.root / "set"
    rng = np.random.default_rng(0)
    for i in range(24):
        tree.array(f"images/{i}.png", rng.integers(0, 256, (40, 60, 3), np.uint8))
        tree.array(f"masks/{i}.png", rng.integers(0, 2, (40, 60), np.uint8))
    dataset = open_dataset(DataConfig(root=str(pack(tree.root, kind)), classes=("x", "y")), "train")
    expected = [_sum(dataset, i) for i in range(24)]  # the index is there before the fork
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        jobs = [pool.submit(_sum, dataset, i % 24) for i in range(240 if start == "fork" else 48)]
        assert [job.result() for job in jobs] == (expected * 10)[: len(jobs)]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_no_handle_stays_open(tree: Any) -> None:
    tree.root = tree.root / "set"
    tree.image("images/a.png")
    tree.mask("masks/a.png")
    config = DataConfig(root=str(pack(tree.root, "zip")), classes=("x",))
    before = len(os.listdir("/proc/self/fd"))
    dataset = open_dataset(config, "train")
    dataset[0]
    assert len(os.listdir("/proc/self/fd")) == before


@needs_shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_ade20k_as_it_is_downloaded(tmp_path: Path, split: Split) -> None:
    inside = tmp_path / "ADEChallengeData2016"
    inside.symlink_to(SHARED / "ade20k_sample")
    packed = Path(shutil.make_archive(str(inside), "zip", tmp_path, "ADEChallengeData2016"))
    plain = DataConfig(layout="ade20k", root=str(SHARED / "ade20k_sample"), train=".", val=".")
    config = dataclasses.replace(plain, root=str(packed))
    assert home(packed) == packed / "ADEChallengeData2016"
    assert_equal(open_dataset(config, split), open_dataset(plain, split))


def test_cityscapes_as_it_is_downloaded(tree: Any) -> None:
    tree.image("leftImg8bit/train/u/u_0_leftImg8bit.png")
    tree.mask("gtFine/train/u/u_0_gtFine_labelIds.png", values=7)
    plain = open_dataset(DataConfig(layout="cityscapes", root=str(tree.root)), "train")[0]
    for kind in ("leftImg8bit", "gtFine"):
        shutil.make_archive(str(tree.root / f"{kind}_trainvaltest"), "zip", tree.root, kind)
        shutil.rmtree(tree.root / kind)
    packed = open_dataset(DataConfig(layout="cityscapes", root=str(tree.root)), "train")[0]
    np.testing.assert_array_equal(packed.image, plain.image)
    np.testing.assert_array_equal(packed.mask, plain.mask)
