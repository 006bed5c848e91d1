"""Shards: what is written reads back as its source, and what others wrote is understood."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from test_dataset import SHARED, needs_shared
from test_packed_data import assert_equal

from topseg.core.errors import InputError
from topseg.data.config import DataConfig
from topseg.data.dataset import Dataset, find_pairs, open_dataset
from topseg.data.layouts.shards import decode_key, encode_key, find_shards
from topseg.data.sharding import write_shards
from topseg.recipe import read_data


def names(dataset: Dataset) -> list[str]:
    return [dataset.name(i) for i in range(len(dataset))]


@pytest.fixture
def source(tree: Any) -> DataConfig:
    """Seven images of odd names, and one to validate on."""
    tree.root = tree.root / "set"
    rng = np.random.default_rng(0)
    odd = ("a", "b.c", "b%2Ec", "deep.er/d.e", "ü", "x" * 120, "deep.er/f")
    for name in [f"train/{name}" for name in odd] + ["val/v"]:
        tree.array(f"images/{name}.png", rng.integers(0, 256, (20, 30, 3), np.uint8))
        tree.array(f"masks/{name}.png", rng.choice([3, 7, 255], (20, 30)).astype(np.uint8))
    tree.text("classes.txt", "road", "tree")
    return DataConfig(root=str(tree.root), label_map={3: 0, 7: 1}, ignore_index=(255, 9))


def test_shards_read_back(source: DataConfig, tmp_path: Path) -> None:
    sizes = []
    out = tmp_path / "out"
    write_shards(source, out, progress=lambda done, total: sizes.append((done, total)))
    assert sorted(p.name for p in out.iterdir()) == [
        "dataset.yaml",
        "train-000000.tar",
        "val-000000.tar",
    ]
    assert sizes == [(7, 8), (8, 8)]
    for split in ("train", "val"):
        assert_equal(open_dataset(read_data(out), split), open_dataset(source, split))


def test_shards_are_cut_and_the_same_each_time(
    source: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(source, tmp_path / "one")
    monkeypatch.setattr("topseg.data.sharding._MEGABYTE", 5000)
    for out in ("many", "again"):
        write_shards(source, tmp_path / out, megabytes=1)
    many = sorted((tmp_path / "many").glob("train-*.tar"))
    assert len(many) > 2
    for shard in many:
        assert shard.read_bytes() == (tmp_path / "again" / shard.name).read_bytes()
    assert_equal(
        open_dataset(read_data(tmp_path / "many"), "train"),
        open_dataset(read_data(tmp_path / "one"), "train"),
    )
    many[1].unlink()
    with pytest.raises(InputError, match=r"train-000001.tar: no such shard; is data.root right"):
        open_dataset(read_data(tmp_path / "many"), "train")


def test_shards_on_several_disks(source: DataConfig, tmp_path: Path) -> None:
    write_shards(source, tmp_path / "a")
    write_shards(source, tmp_path / "b")
    config = read_data(tmp_path / "a")
    both = read_data(
        tmp_path / "a", [f"train=[train-000000.tar, {tmp_path}/b/train-*.tar, '../b/val-*.tar']"]
    )
    train, val = open_dataset(config, "train"), open_dataset(config, "val")
    assert names(open_dataset(both, "train")) == names(train) * 2 + names(val)


def test_two_images_of_one_stem_keep_their_masks(tree: Any, tmp_path: Path) -> None:
    tree.image("images/train/a.png", value=1)
    tree.image("images/train/a.bmp", "images/val/a.png", value=2)
    tree.mask("masks/train/a.png", "masks/val/a.png")
    config = DataConfig(root=str(tree.root), classes=("x",))
    write_shards(config, tmp_path / "out")
    found = open_dataset(read_data(tmp_path / "out"), "train")
    assert names(found) == ["images/train/a.bmp", "images/train/a-2.png"]
    assert [int(found[i].image[0, 0, 0]) for i in range(2)] == [2, 1]


def test_what_is_in_the_way_is_told_before_anything_is_written(tree: Any, tmp_path: Path) -> None:
    tree.image("images/train/a.png", "images/val/a.png")
    tree.mask("masks/train/b.png", "masks/train/a.png", "masks/val/b.png")
    config, out = DataConfig(root=str(tree.root), classes=("x",)), tmp_path / "out"
    with pytest.raises(InputError, match=r"masks/val: only files such as b.png"):
        write_shards(config, out)
    assert not out.exists()
    with pytest.raises(InputError, match=r"masks: not empty; give a new folder"):
        write_shards(config, tree.root / "masks")


def test_colours_and_borrowed_meanings_are_written_out(tree: Any, tmp_path: Path) -> None:
    for split in ("training", "validation"):
        tree.image(f"images/{split}/a.png")
        tree.mask(f"annotations/{split}/a.png", values=[0, 1, 2, 3, 150, 7])
    source = DataConfig(layout="ade20k", root=str(tree.root))
    write_shards(source, tmp_path / "out")
    assert_equal(open_dataset(read_data(tmp_path / "out"), "val"), open_dataset(source, "val"))
    colors = tmp_path / "colors"
    for split in ("train", "val"):
        (colors / "images" / split).mkdir(parents=True)
        (colors / "masks" / split).mkdir(parents=True)
        pixels = np.full((4, 6, 3), (9, 8, 7), np.uint8)
        PIL.Image.fromarray(pixels).save(colors / "images" / split / "a.png")
        PIL.Image.fromarray(pixels).save(colors / "masks" / split / "a.png")
    (colors / "labelmap.txt").write_text("x:0,0,0::\ny:9,8,7::\n")
    write_shards(DataConfig(root=str(colors)), tmp_path / "out2")
    assert (open_dataset(read_data(tmp_path / "out2"), "train")[0].mask == 1).all()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("k.jpg", "k.png"),
        ("k.JPEG", "k.png"),
        ("k.png", "k.mask.png"),
        ("k.png", "k.seg.png"),
        ("k.jpg", "k.label_map.png"),
        ("k.image.jpg", "k.annotation.png"),
        ("a.b/k.webp", "a.b/k.png"),
    ],
)
def test_shards_of_others(tmp_path: Path, image: str, mask: str) -> None:
    with tarfile.open(tmp_path / "train-0000.tar", "w") as file:
        for name in (mask, "k.json", image, "k.cls"):
            data = io.BytesIO()
            if name in (image, mask):
                pixels = np.full((4, 6, 3)[: 3 if name == image else 2], 1, np.uint8)
                suffix = name.rpartition(".")[2].replace("jpg", "jpeg")
                PIL.Image.fromarray(pixels).save(data, suffix)
            entry = tarfile.TarInfo(name)
            entry.size = len(data.getvalue())
            data.seek(0)
            file.addfile(entry, data)
    found = open_dataset(
        DataConfig(layout="shards", root=str(tmp_path), classes=("x", "y")), "train"
    )
    assert names(found) == [image]
    assert (found[0].mask == 1).all()


def test_halves_of_pairs(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as file:
        for name in ("a.jpg", "b.mask.png"):
            file.addfile(tarfile.TarInfo(name))
    found = find_pairs(DataConfig(layout="shards", root=str(tmp_path)), "train")
    shard = tmp_path / "train-0.tar"
    assert [pair.mask for pair in found.pairs] == [shard / "a.mask.png"]
    assert found.orphans == (shard / "b.mask.png",)


def test_names_and_ranges(tmp_path: Path) -> None:
    for number in range(8, 12):
        (tmp_path / f"t-{number:02d}.tar").touch()
    ranged = find_shards(tmp_path, "t-{08..11}.tar")
    assert [path.name for path in ranged] == ["t-08.tar", "t-09.tar", "t-10.tar", "t-11.tar"]
    assert find_shards(tmp_path, "t") == ranged
    assert find_shards(tmp_path, f"{tmp_path}/t-0?.tar") == ranged[:2]
    with pytest.raises(InputError, match=r"t-07.tar: no such shard"):
        find_shards(tmp_path, "t-{07..11}.tar")
    with pytest.raises(InputError, match=r"got a range of 1000000000, expected 1 to 100000"):
        find_shards(tmp_path, "t-{0..999999999}.tar")
    for name in ("a.b%2E%25.c", "plain"):
        assert decode_key(encode_key(name)) == name


@needs_shared
def test_camvid(tmp_path: Path) -> None:
    source = DataConfig(layout="camvid", root=str(SHARED / "camvid"), train="val")
    write_shards(source, tmp_path / "out", megabytes=8)
    assert len([*(tmp_path / "out").glob("train-*.tar")]) > 1
    assert_equal(open_dataset(read_data(tmp_path / "out"), "train"), open_dataset(source, "train"))
