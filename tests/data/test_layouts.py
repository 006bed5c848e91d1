"""Where each layout finds its pairs, and what it says when it does not."""

import sys
from typing import Any

import pytest

from topseg.core.errors import InputError
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs, open_dataset
from topseg.data.layouts import voc
from topseg.data.layouts.layout import Split


def found(tree: Any, layout: str, split: Split = "train", **config: Any) -> list[tuple[str, str]]:
    """Image and mask of every pair, relative to the root."""
    pairs = find_pairs(DataConfig(layout=layout, root=str(tree.root), **config), split).pairs
    return [tuple(p.relative_to(tree.root).as_posix() for p in (q.image, q.mask)) for q in pairs]


def test_folder_without_splits_is_the_training_split(tree: Any) -> None:
    tree.image("images/b.jpg", "images/a.png", "images/sub/c.png")
    tree.mask("masks/a.png", "masks/b.png", "masks/sub/c.png")
    assert found(tree, "folder") == [
        ("images/a.png", "masks/a.png"),
        ("images/b.jpg", "masks/b.png"),
        ("images/sub/c.png", "masks/sub/c.png"),
    ]
    with pytest.raises(InputError, match=r"no val split; make images/val .* set data.val=0.2"):
        found(tree, "folder", "val")


@pytest.mark.parametrize("pattern", ["{kind}/{split}/{name}.png", "{split}/{kind}/{name}.png"])
def test_folder_with_splits(tree: Any, pattern: str) -> None:
    for split, name in (("train", "a"), ("val", "b")):
        tree.image(pattern.format(kind="images", split=split, name=name))
        tree.mask(pattern.format(kind="masks", split=split, name=name))
    for split, name in (("train", "a"), ("val", "b")):
        files = {"split": split, "name": name}
        pair = tuple(pattern.format(kind=kind, **files) for kind in ("images", "masks"))
        assert found(tree, "folder", split) == [pair]
    assert len(found(tree, "folder", train=("train", "val"))) == 2
    with pytest.raises(InputError, match=r"no split 'test' \(data.val\): expected images/test"):
        found(tree, "folder", "val", val="test")


def test_a_folder_with_a_val_split_alone_does_not_train_on_it(tree: Any) -> None:
    tree.image("images/val/a.png")
    tree.mask("masks/val/a.png")
    with pytest.raises(InputError, match=r"no train split; .*sub-folders of images: val"):
        found(tree, "folder")


def test_a_folder_split_by_lists(tree: Any) -> None:
    tree.image("images/a.png", "images/b.jpg", "images/c.png")
    tree.mask("masks/a.png", "masks/b.png", "masks/c.png")
    tree.text("val.txt", "# by stem or by file name", "b", "images/c.png")
    assert found(tree, "folder", "val", val="val.txt") == [
        ("images/b.jpg", "masks/b.png"),
        ("images/c.png", "masks/c.png"),
    ]
    tree.text("val.txt", "a", "d")
    with pytest.raises(InputError, match=r"val.txt: line 2: no image 'd' in "):
        found(tree, "folder", "val", val="val.txt")


def test_a_list_names_images_whose_names_have_spaces(tree: Any) -> None:
    tree.image("images/a b.png", "images/c.png")
    tree.mask("masks/a b.png", "masks/c.png")
    tree.text("val.txt", "a b.png", "images/a b", "c.png masks/c.png")
    pairs = [("images/a b.png", "masks/a b.png")] * 2 + [("images/c.png", "masks/c.png")]
    assert found(tree, "folder", "val", val="val.txt") == pairs
    tree.text("val.txt", "a d.png")
    with pytest.raises(InputError, match=r"line 1: no image 'a d.png' in "):
        found(tree, "folder", "val", val="val.txt")


@pytest.mark.parametrize("name", ["a  b", "a\u3000b", "a\xa0b", "a\u2028b", "a\x85b"])
def test_any_blank_in_a_name_of_a_list_is_the_names(tree: Any, name: str) -> None:
    tree.image(f"images/{name}.png", f"JPEGImages/{name}.jpg")
    tree.mask(f"masks/{name}.png", f"SegmentationClass/{name}.png")
    for ending in ("", "\t", " \t"):
        tree.text("val.txt", f"{name}.png{ending}")
        tree.text("ImageSets/Segmentation/val.txt", f"{name}{ending}")
        pair = (f"images/{name}.png", f"masks/{name}.png")
        assert found(tree, "folder", "val", val="val.txt") == [pair]
        pair = (f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png")
        assert found(tree, "voc", "val") == [pair]


def test_voc_masks_in_capitals(tree: Any) -> None:
    tree.image("JPEGImages/a.JPG", "JPEGImages/b.JPG")
    tree.mask("SegmentationClass/a.PNG", "SegmentationClassAug/b.PNG")
    tree.text("ImageSets/Segmentation/train.txt", "a", "b")
    assert [mask for _, mask in found(tree, "voc", train="train")] == [
        "SegmentationClass/a.PNG",
        "SegmentationClassAug/b.PNG",
    ]


def test_folder_mistakes(tree: Any) -> None:
    with pytest.raises(InputError, match=r"expected images/ and masks/ here .*data.root"):
        found(tree, "folder")
    (tree.root / "images").mkdir()
    with pytest.raises(InputError, match=r"masks: no such folder; is data.root right\?"):
        found(tree, "folder")
    (tree.root / "masks").mkdir()
    with pytest.raises(InputError, match="images: no images in this folder"):
        found(tree, "folder")
    tree.image("images/a.jpg")
    with pytest.raises(InputError, match=r"masks: no masks; a needs a.png"):
        found(tree, "folder")
    tree.mask("masks/a_mask.png")
    with pytest.raises(InputError, match=r"only files such as a_mask.png; a needs a.png"):
        found(tree, "folder")
    tree.mask("masks/a.png", "masks/a.bmp")
    with pytest.raises(InputError, match=r"a.bmp: a.png has the same stem; keep one of the masks"):
        found(tree, "folder")


def test_missing_masks_are_pairs_until_the_data_is_opened(tree: Any) -> None:
    tree.image("images/a.jpg", "images/b.jpg", "images/c.jpg")
    tree.mask("masks/a.png", "masks/z.png")
    config = DataConfig(root=str(tree.root), classes=("one",))
    pairs = find_pairs(config, "train")
    assert [p.mask.name for p in pairs.pairs] == ["a.png", "b.png", "c.png"]
    assert [p.name for p in pairs.orphans] == ["z.png"]
    with pytest.raises(
        InputError, match=r"masks/b.png: no such file, the mask of 'images/b.jpg', and 1 more"
    ):
        open_dataset(config, "train")


def test_lists(tree: Any) -> None:
    tree.image("x/a.png", "y/b c.png", "other/z/d.png")
    tree.mask("m/a.png", "m/b c.png", "other/z/d_mask.png")
    tree.text("train.txt", "", "x/a.png m/a.png", "y/b c.png\tm/b c.png")
    tree.text("other/more.txt", "z/d.png z/d_mask.png")
    pairs = [("x/a.png", "m/a.png"), ("y/b c.png", "m/b c.png")]
    assert found(tree, "list") == pairs
    both = found(tree, "list", train=("train.txt", "other/more.txt"))
    assert both == [*pairs, ("other/z/d.png", "other/z/d_mask.png")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), r"train.txt: the list is empty; expected an 'image mask' pair per line"),
        (("# nothing",), r"train.txt: the list is empty"),
        (("a.png b.png", "a b.png c.png"), r"line 2: got 3 columns, .*part them by a tab"),
        (("a.png",), r"line 1: got 1 columns, expected 'image mask'"),
    ],
)
def test_list_mistakes(tree: Any, lines: tuple[str, ...], message: str) -> None:
    tree.text("train.txt", *lines)
    with pytest.raises(InputError, match=message):
        found(tree, "list")
    with pytest.raises(InputError, match=r"val.txt: no such list file"):
        found(tree, "list", "val")


def test_ade20k(tree: Any) -> None:
    for split in ("training", "validation"):
        tree.image(f"ADEChallengeData2016/images/{split}/ADE_1.jpg")
        tree.mask(f"ADEChallengeData2016/annotations/{split}/ADE_1.png")
    for split, folder in (("train", "training"), ("val", "validation")):
        assert found(tree, "ade20k", split) == [
            (
                f"ADEChallengeData2016/images/{folder}/ADE_1.jpg",
                f"ADEChallengeData2016/annotations/{folder}/ADE_1.png",
            )
        ]
    tree.image("images/a.jpg")
    tree.mask("annotations/a.png")
    assert found(tree, "ade20k", "val", val=".") == [("images/a.jpg", "annotations/a.png")]


def test_cityscapes(tree: Any) -> None:
    tree.image("leftImg8bit/train/ulm/ulm_0_leftImg8bit.png")
    tree.image("leftImg8bit/train_extra/bonn/bonn_0_leftImg8bit.png")
    tree.image("leftImg8bit/val/jena/jena_0_leftImg8bit.png")
    tree.mask("gtFine/train/ulm/ulm_0_gtFine_labelIds.png", values=26)
    tree.mask("gtFine/train/ulm/ulm_0_gtFine_labelTrainIds.png", values=13)
    tree.mask("gtFine/train/ulm/ulm_0_gtFine_color.png")
    tree.mask("gtFine/val/jena/jena_0_gtFine_labelTrainIds.png", values=13)
    tree.mask("gtCoarse/train_extra/bonn/bonn_0_gtCoarse_labelIds.png", values=0)
    config = DataConfig(layout="cityscapes", root=str(tree.root), train=("train", "train_extra"))
    assert not find_pairs(config, "train").orphans
    train, val = open_dataset(config, "train"), open_dataset(config, "val")
    assert [train.name(i) for i in range(len(train))] == [
        "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png",
        "leftImg8bit/train_extra/bonn/bonn_0_leftImg8bit.png",
    ]
    assert train.labels.names[13] == "car"
    assert (train[0].mask == 13).all()  # raw 26 by labelIds
    assert (train[1].mask == 255).all()
    assert (val[0].mask == 13).all()  # 13 as it is by labelTrainIds


def test_voc(tree: Any) -> None:
    lists, home = "ImageSets/Segmentation", "VOCdevkit/VOC2012"
    tree.image(*(f"{home}/JPEGImages/{name}.jpg" for name in "abcd"))
    tree.mask(*(f"{home}/SegmentationClass/{name}.png" for name in "ad"))
    tree.text(f"{home}/{lists}/train.txt", "a")
    tree.text(f"{home}/{lists}/val.txt", "d")

    def masks(split: Split, **config: Any) -> list[str]:
        return [mask.removeprefix(f"{home}/") for _, mask in found(tree, "voc", split, **config)]

    assert masks("train") == ["SegmentationClass/a.png"]
    assert masks("val") == ["SegmentationClass/d.png"]
    tree.mask(*(f"{home}/SegmentationClassAug/{name}.png" for name in "abd"))
    augmented = ["SegmentationClass/a.png", "SegmentationClassAug/b.png"]
    assert masks("train") == augmented  # all that are not in val
    assert masks("train", train="train") == augmented[:1]
    tree.text(f"{home}/{lists}/trainaug.txt", "b")
    assert masks("train") == augmented[1:]
    with pytest.raises(InputError, match=r"Segmentation/trainval.txt: no such list file"):
        masks("val", val="trainval")


def test_camvid(tree: Any) -> None:
    tree.image("train/a.png", "test/b.png")
    tree.mask("trainannot/a.png", "testannot/b.png", values=11)
    tree.text("train.txt", "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png")
    tree.text("test.txt", "test/b.png testannot/b.png")
    assert found(tree, "camvid") == [("train/a.png", "trainannot/a.png")]
    assert found(tree, "camvid", "val", val="test") == [("test/b.png", "testannot/b.png")]
    data = open_dataset(DataConfig(layout="camvid", root=str(tree.root)), "train")
    assert (data[0].mask == 255).all()


@pytest.mark.parametrize(
    ("line", "image"),
    [
        ("a.b.c", "a.b.c.jpg"),
        ("a.b.c 1", "a.b.c.jpg"),
        ("a.b.c  -1", "a.b.c.jpg"),
        ("./a.b.c.jpg", "a.b.c.jpg"),
        ("VOC2012/JPEGImages/a.b.c.jpg", "a.b.c.jpg"),
        ("/JPEGImages/a.b.c.jpg /SegmentationClass/a.b.c.png", "a.b.c.jpg"),
        ("x.jpg", "x.jpg.jpg"),
        ("c.png", "c.png.jpg"),
        ("UPPER", "UPPER.JPG"),
        ("with space", "with space.jpg"),
        ("sub\\deep\\q.1", "sub/deep/q.1.bmp"),
        ("10.5", "10.5.tif"),
    ],
)
def test_a_line_of_voc_lists(line: str, image: str, tree: Any) -> None:
    for name in ("a.b.c.jpg", "x.jpg.jpg", "c.png.jpg", "UPPER.JPG", "with space.jpg", "10.5.tif"):
        tree.image(f"JPEGImages/{name}")
    tree.image("JPEGImages/sub/deep/q.1.bmp")
    tree.text("ImageSets/Segmentation/train.txt", line)
    mask = f"SegmentationClass/{image.rpartition('.')[0]}.png"
    assert found(tree, "voc") == [(f"JPEGImages/{image}", mask)]


def test_voc_names_have_dots_sub_folders_and_any_suffix(tree: Any) -> None:
    names = ("frame.0001", "frame.0002", "sub/b", "p")
    for name, suffix in zip(names, (".jpg", ".png", ".jpeg", ".tif"), strict=True):
        tree.image(f"JPEGImages/{name}{suffix}", f"JPEGImages/{name.partition('.')[0]}.bmp")
        tree.mask(f"SegmentationClass/{name}.png")
    lines = (
        "frame.0001",
        "frame.0002.png",
        "JPEGImages/sub/b.jpeg SegmentationClass/sub/b.png",
        "p",
    )
    tree.text("ImageSets/Segmentation/train.txt", *lines)
    images = [image for image, _ in found(tree, "voc")]
    wanted = ("frame.0001.jpg", "frame.0002.png", "sub/b.jpeg", "p.bmp")
    assert images == [f"JPEGImages/{name}" for name in wanted]
    masks = [mask for _, mask in found(tree, "voc")]
    assert masks == [f"SegmentationClass/{name}.png" for name in names]
    pairs = voc.find_pairs(tree.root, None, "train").pairs  # the split's own list
    assert [pair.image.relative_to(tree.root).as_posix() for pair in pairs] == images


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on other systems")
def test_lists_name_files_whose_names_are_not_utf_8(tree: Any) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    tree.image(f"images/{name}")
    tree.mask(f"masks/{name}")
    (tree.root / "train.txt").write_bytes(b"\xef\xbb\xbfimages/caf\xe9.png masks/caf\xe9.png\r\n")
    assert found(tree, "list") == [(f"images/{name}", f"masks/{name}")]
    (tree.root / "train.txt").write_bytes("a b".encode("utf-16"))
    with pytest.raises(InputError, match="cannot be read as a list; expected UTF-8 text"):
        found(tree, "list")


def test_other_files_beside_the_images_are_counted(tree: Any) -> None:
    tree.image("images/a.png")
    tree.mask("masks/a.png")
    tree.text("images/sub/notes.txt")
    pairs = find_pairs(DataConfig(root=str(tree.root)), "train")
    assert [path.name for path in pairs.others] == ["notes.txt"]


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        ("leftImg8bit", "cityscapes"),
        ("JPEGImages ImageSets/Segmentation", "voc"),
        ("VOCdevkit/VOC2012/JPEGImages VOCdevkit/VOC2012/ImageSets/Segmentation", "voc"),
        ("annotations/validation", "ade20k"),
    ],
)
def test_a_published_layout_is_recognized(folders: str, name: str, tree: Any) -> None:
    for folder in folders.split():
        (tree.root / folder).mkdir(parents=True)
    with pytest.raises(InputError, match=f"; looks like {name}; set data.layout={name}"):
        found(tree, "folder")
