"""Data sets: classes, samples, and the published ones where they lie beside the repository."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette, standard_set
from topseg.data.classes import label_set
from topseg.data.config import DataConfig
from topseg.data.dataset import open_dataset

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")


def config(tree: Any, **more: Any) -> DataConfig:
    return DataConfig(root=str(tree.root), **more)


def test_samples(tree: Any) -> None:
    tree.image("images/a.png", "images/b.png", value=7)
    tree.mask("masks/a.png", values=1)
    tree.mask("masks/b.png", values=[0, 1, 2, 255, 255, 1])
    data = open_dataset(config(tree, classes=("x", "y", "z")), "train")
    assert len(data) == 2
    assert data[0].image.shape == (4, 6, 3)
    assert (data[0].image == 7).all()
    assert data[1].mask.tolist() == [[0, 1, 2, 255, 255, 1]] * 4
    assert data[1].mask.dtype == np.uint8
    assert data[1].name == data.name(1) == "images/b.png"
    assert data.paths(1) == (tree.root / "images/b.png", tree.root / "masks/b.png")
    with pytest.raises(IndexError):
        data[2]


def test_sizes_must_agree(tree: Any) -> None:
    tree.image("images/a.png", "images/b.png")
    tree.mask("masks/a.png", size=(4, 5))
    tree.mask("masks/b.png", size=(6, 4))
    data = open_dataset(config(tree, classes=("x",)), "train")
    with pytest.raises(InputError, match=r"a.png: got 5x4 pixels, expected 6x4 as its image"):
        data[0]
    with pytest.raises(InputError, match=r"b.png: got 4x6 .*one of them is turned: save both"):
        data[1]


def test_image_and_mask_follow_one_orientation_rule(tree: Any) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    for folder, array in (("images", np.dstack([pixels] * 3)), ("masks", pixels)):
        (tree.root / folder).mkdir()
        PIL.Image.fromarray(array).save(tree.root / folder / "a.png", exif=exif)
    data = open_dataset(config(tree, classes=tuple("abcdefghijklmnopqrstuvwx")), "train")
    np.testing.assert_array_equal(data[0].image[..., 0], np.rot90(pixels, -1))
    np.testing.assert_array_equal(data[0].mask, np.rot90(pixels, -1))


def test_more_than_255_classes(tree: Any) -> None:
    tree.image("images/a.png")
    tree.array("masks/a.png", np.array([[0, 255, 256, 299, 65535, 7]] * 4, np.uint16))
    data = open_dataset(config(tree, classes=tuple(f"c{i}" for i in range(300))), "train")
    assert data[0].mask.dtype == np.uint16
    assert data[0].mask[0].tolist() == [0, 255, 256, 299, 65535, 7]


def test_channels_and_scale_reach_the_image(tree: Any) -> None:
    tree.mask("masks/a.png")
    (tree.root / "images").mkdir()
    np.save(tree.root / "images/a.npy", np.full((4, 6, 5), 2.0, np.float32))
    data = open_dataset(config(tree, classes=("x",)), "train", channels=5, scale=10)
    assert data[0].image.shape == (4, 6, 5)
    assert (data[0].image == 20).all()


def test_classes_by_config_file_or_layout(tree: Any) -> None:
    assert label_set(config(tree, classes=("a", "b"))).palette == default_palette(2)
    palette = ((1, 2, 3), (4, 5, 6))
    assert label_set(config(tree, classes=("a", "b"), palette=palette)).palette == palette
    assert label_set(config(tree, layout="voc")) == standard_set("voc")[0]
    assert label_set(config(tree, classes="voc")) == standard_set("voc")[0]
    tree.text("classes.txt", "road", "", " traffic light ")
    assert label_set(config(tree)).names == ("road", "traffic light")
    tree.text("other.txt", "sky")
    assert label_set(config(tree, classes="other.txt")).names == ("sky",)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, r"data.classes: none given; list their names .* into .*classes.txt"),
        ({"classes": "vok"}, r"'vok' is neither a file nor a label set, did you mean 'voc'"),
        ({"classes": ("a", "b", "a")}, r"'a' is given twice"),
        ({"classes": "empty.txt"}, r"empty.txt: empty, expected one class name per line"),
        ({"classes": ("a",), "palette": ((0, 0, 0),) * 2}, r"got 2 colours for 1 classes"),
        ({"classes": ("a",), "label_map": {3: 1}}, r"data.label_map: 3: got class 1, expected 0"),
        ({"classes": ("a",), "label_map": {3: 0}, "masks": "color"}, r"masks hold colours"),
        ({"classes": ("a", "b"), "layout": "camvid"}, r"camvid has 11 classes, .* gives 2; say"),
    ],
)
def test_wrong_classes(tree: Any, more: dict[str, Any], message: str) -> None:
    tree.image("images/a.png", "train/a.png")
    tree.mask("masks/a.png", "trainannot/a.png")
    tree.text("train.txt", "train/a.png trainannot/a.png")
    tree.text("empty.txt")
    with pytest.raises(InputError, match=message):
        open_dataset(config(tree, **more), "train")


def test_borrowed_names_leave_values_as_they_are(tree: Any) -> None:
    tree.image("images/a.png")
    tree.mask("masks/a.png", values=1)
    assert (open_dataset(config(tree, classes="ade20k"), "train")[0].mask == 1).all()


@needs_shared
def test_camvid_as_published() -> None:
    train, val = (
        open_dataset(DataConfig(layout="camvid", root=str(SHARED / "camvid")), split)
        for split in ("train", "val")
    )
    assert (len(train), len(val)) == (367, 101)
    sample = train[0]
    raw = np.asarray(PIL.Image.open(SHARED / "camvid/trainannot/0001TP_006690.png"))
    assert sample.image.shape == (360, 480, 3)
    np.testing.assert_array_equal(sample.mask == 255, raw == 11)
    np.testing.assert_array_equal(sample.mask[raw < 11], raw[raw < 11])
    assert train.labels.names[3] == "road"


@needs_shared
def test_ade20k_as_published() -> None:
    data = open_dataset(
        DataConfig(layout="ade20k", root=str(SHARED / "ade20k_sample"), val="."), "val"
    )
    assert len(data) == 3
    assert data.labels.num_classes == 150
    for i in range(3):
        sample = data[i]
        raw = np.asarray(PIL.Image.open(data.paths(i)[1]))
        np.testing.assert_array_equal(sample.mask, raw - np.uint8(1))  # 0 wraps to 255


def test_cvats_label_map_names_classes_and_colours(tree: Any) -> None:
    lines = ("# label:color_rgb:parts:actions", "background:0,0,0::", "road: main:128,64,128::")
    tree.text("labelmap.txt", *lines)
    tree.image("JPEGImages/a.jpg", size=(1, 3))
    colors = np.array([[[0, 0, 0], [128, 64, 128], [128, 64, 128]]], np.uint8)
    tree.array("SegmentationClass/a.png", colors)
    tree.text("ImageSets/Segmentation/train.txt", "a")
    for layout in ("voc", "folder"):
        labels = label_set(config(tree, layout=layout))
        assert labels == LabelSet(("background", "road: main"), ((0, 0, 0), (128, 64, 128)))
    mask = open_dataset(config(tree, layout="voc"), "train")[0].mask
    np.testing.assert_array_equal(mask, [[0, 1, 1]])
    tree.array("SegmentationClass/a.png", np.array([[0, 1, 255]], np.uint8))
    mask = open_dataset(config(tree, layout="voc", masks="index"), "train")[0].mask
    np.testing.assert_array_equal(mask, [[0, 1, 255]])


def test_a_label_map_with_a_wrong_line(tree: Any) -> None:
    tree.text("labelmap.txt", "background:0,0,0::", "road")
    with pytest.raises(InputError, match=r"labelmap.txt: got 'road', expected 'name:red,green,"):
        label_set(config(tree))
    tree.text("labelmap.txt", "background:0,0,300::")
    with pytest.raises(InputError, match="the colour of 'background' has a value above 255"):
        label_set(config(tree))


def test_own_colours_in_a_published_layout(tree: Any) -> None:
    tree.image("train/a.png", size=(1, 2))
    tree.array("trainannot/a.png", np.array([[[9, 9, 9], [0, 0, 200]]], np.uint8))
    tree.text("train.txt", "train/a.png trainannot/a.png")
    own = {"classes": ("ground", "water"), "palette": ((9, 9, 9), (0, 0, 200)), "masks": "color"}
    mask = open_dataset(config(tree, layout="camvid", **own), "train")[0].mask
    np.testing.assert_array_equal(mask, [[0, 1]])


@pytest.mark.parametrize("name", ["a\nb", "a\ud800", ""])
def test_names_of_classes_can_be_printed(name: str, tree: Any) -> None:
    with pytest.raises(InputError, match=r"data.classes: got '.*', expected"):
        label_set(config(tree, classes=("a", name)))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_names_something(split: Any, tree: Any) -> None:
    tree.image("images/a.png")
    tree.mask("masks/a.png")
    with pytest.raises(InputError, match=f"data.{split}: got an empty list, expected a split or"):
        open_dataset(config(tree, classes=("a",), **{split: ()}), split)
