"""Remedies work as printed: read from the text and run, they leave a clean data set."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from topseg.cli import main
from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs
from topseg.data.masks import MaskReader
from topseg.recipe import read_data, read_recipe

ROOT = Path(__file__).parents[2]
Values = Sequence[int]


def make(
    root: Path,
    values: Values,
    classes: str | None = "ground\nroad\n",
    images: str = "images/{split}",
    masks: str = "masks/{split}",
    splits: dict[str, int] | None = None,
) -> None:
    """Write images and masks, each mask with all the values side by side."""
    number = 0
    for split, count in (splits or {"train": 3, "val": 2}).items():
        for index in range(count):
            number += 1
            for folder, pixels in (
                (images, np.random.default_rng(number).integers(0, 255, (8, 8 * 3, 3), np.uint8)),
                (masks, np.resize(np.repeat(np.array(values, np.uint8), 2), (8, 24))),
            ):
                name = f"{split}{index}x"
                path = root / folder.format(split=split, name=name)
                path = path if path.suffix else path / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(pixels).save(path)
    if classes is not None:
        (root / "classes.txt").write_text(classes)


def rename(build: Callable[[], None], root: Path, pattern: str) -> None:
    """Build a data set, and name its files by number."""
    build()
    for kind in ("images", "masks"):
        for index, path in enumerate(sorted((root / kind).rglob("*.png"))):
            path.rename(path.with_name(f"{pattern.format(index)}.png"))


def camvid(root: Path) -> None:
    for split in ("train", "val"):
        make(root, range(12), None, "{split}", "{split}annot", {split: 2})
        names = [f"{split}{index}x.png" for index in range(2)]
        lines = [f"/SegNet/CamVid/{split}/{n} /SegNet/CamVid/{split}annot/{n}" for n in names]
        (root / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    for index in range(2):  # no picture stands in both splits
        pixels = np.random.default_rng(90 + index).integers(0, 255, (8, 24, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(root / f"val/val{index}x.png")


def voc(root: Path) -> None:
    make(root, range(21), None, "JPEGImages", "SegmentationClass", {"a": 3, "b": 2})
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a0x\na1x\na2x\n")
    (lists / "val.txt").write_text("b0x\nb1x\n")


def colored(root: Path, colors: Sequence[tuple[int, int, int]], text: str | None = None) -> None:
    """Masks of colours; each image shows all of them."""
    make(root, range(len(colors)), None)
    for path in (root / "masks").rglob("*.png"):
        pixels = np.asarray(PIL.Image.open(path))
        PIL.Image.fromarray(np.array(colors, np.uint8)[pixels]).save(path)
    if text is not None:
        (root / "dataset.yaml").write_text(text)


def with_file(text: str, values: Values, classes: str | None = None) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        make(root, values, classes)
        (root / "dataset.yaml").write_text(text)

    return build


FAULTY: dict[str, Callable[[Path], None]] = {
    "11 is void": lambda root: make(root, range(12), "\n".join("abcdefghijk")),
    "2 is void": lambda root: make(root, (0, 1, 2)),
    "2 and 255 are void": lambda root: make(root, (0, 1, 2, 255)),
    "two voids": lambda root: make(root, (0, 1, 7, 9)),
    "254 is void": lambda root: make(root, (0, 1, 254)),
    "three voids and 255": lambda root: make(root, (0, 1, 100, 200, 250, 255)),
    "0 and 255, two classes": lambda root: make(root, (0, 255)),
    "0 and 255, one class": lambda root: make(root, (0, 255), "disc\n"),
    "0 and 255, background alone": lambda root: make(root, (0, 255), "background\n"),
    "0 and 255, no classes": lambda root: make(root, (0, 255), None),
    "no classes": lambda root: make(root, (0, 1, 2), None),
    "no classes, with 255": lambda root: make(root, (0, 1, 2, 3, 255), None),
    "no classes, labels": lambda root: make(root, (0, 1), None, masks="labels/{split}"),
    "no val split": lambda root: make(root, (0, 1), splits={"": 10}),
    "no val split, void": lambda root: make(root, (0, 1, 5), splits={"": 10}),
    "no val split, no classes": lambda root: make(root, (0, 1), None, splits={"": 10}),
    "no val split, annotations": lambda root: make(
        root, (0, 1), None, masks="annotations/{split}", splits={"": 10}
    ),
    "camvid": camvid,
    "voc": voc,
    "void beside an ignored value": with_file("classes: [a, b]\nignore_index: 9\n", (0, 1, 9, 10)),
    "void beside ignored values": with_file(
        "classes: [a, b]\nignore_index: [9, 10]\n", (0, 1, 9, 10, 11)
    ),
    "void beside a map": with_file(
        "classes: [a, b]\nlabel_map: {1: 0, 2: 1, 3: ignore}\n", (1, 2, 3, 7)
    ),
    "11 is void, no classes, as CamVid": lambda root: rename(
        lambda: make(root, range(12), None, splits={"": 10}), root, "0016E5_{:05}"
    ),
    "21 classes, as VOC": lambda root: rename(
        lambda: make(root, [*range(21), 255], None, splits={"": 10}), root, "2008_{:06}"
    ),
    "numbers with gaps": lambda root: make(root, (0, 60, 120, 250), None),
    "numbers with gaps and 255": lambda root: make(root, (10, 60, 120, 255), None),
    "0, 128 and 255, two classes": lambda root: make(root, (0, 128, 255), "ground\nroad\n"),
    "one folder": lambda root: make(
        root, (0, 1), images="{split}/{name}.jpg", masks="{split}/{name}_mask.png"
    ),
    "one folder, no splits": lambda root: make(
        root, (0, 1), None, "{name}.jpg", "{name}.png", {"": 10}
    ),
    "images and masks in images/": lambda root: make(
        root, (0, 1), images="images/{name}.jpg", masks="images/{name}-gt.png", splits={"": 10}
    ),
    "masks with a suffix": lambda root: make(root, (0, 1), masks="masks/{split}/{name}_L.png"),
    "another folder of masks": lambda root: make(root, (0, 1), masks="ground truth/{split}"),
    "other folders": lambda root: make(
        root, (0, 1, 7), None, "{split}/rgb/{name}.png", "{split}/seg/{name}_label.png"
    ),
    "masks beside each split": lambda root: make(
        root, (0, 1), images="{split}", masks="{split}_masks"
    ),
    "CamVid's folders without its lists": lambda root: make(
        root, (0, 1), images="{split}", masks="{split}annot"
    ),
    "folders named by a split that is alone": lambda root: make(
        root, (0, 1), images="train_images", masks="train_masks", splits={"a": 10}
    ),
    "a train split alone": lambda root: make(
        root, (0, 1), images="{split}/images", masks="{split}/masks", splits={"train": 10}
    ),
    "colours, no classes": lambda root: colored(root, [(0, 0, 0), (200, 10, 10), (9, 9, 200)]),
    "colours of the palette": lambda root: colored(
        root,
        [(0, 0, 0), (200, 10, 10), (0, 0, 0), (224, 224, 192)],
        "{classes: [a, b], palette: [[0, 0, 0], [200, 10, 10]]}",
    ),
    "colours that have no class": lambda root: colored(
        root,
        [(0, 0, 0), (200, 10, 10), (224, 224, 192), (9, 9, 9), (9, 9, 200)],
        "{masks: color, classes: [a, b], palette: [[0, 0, 0], [200, 10, 10]], "
        "ignore_colors: [[9, 9, 9]]}",
    ),
    "a folder inside": lambda root: make(root / "archive v2", (0, 1, 2), None),
    "a folder with a space": lambda root: make(root / "my photos", (0, 1, 3)),
}


@pytest.mark.parametrize("name", FAULTY)
def test_pasting_what_is_printed_mends_a_data_set(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FAULTY[name](tmp_path)
    root = tmp_path / "my photos" if name == "a folder with a space" else tmp_path
    code, words = main(["check", str(root)]), []
    for _ in range(4):
        text = "".join(capsys.readouterr())
        if code == 0:
            break
        remedies = [line for line in text.splitlines() if line.startswith("to mend it: topseg ")]
        assert len(remedies) == 1, text
        words = shlex.split(remedies[0])[4:]
        assert words[0] == "check"
        code = main(words)
    assert code == 0, text
    assert "error" not in text
    assert words, "nothing was wrong"
    # What is printed next trains with the same settings.
    (command,) = (line for line in text.splitlines() if line.startswith("to train on it: topseg "))
    train = shlex.split(command)[5:]
    assert train[:4] == ["train", "finetune", "--out", "runs/mine"]
    recipe = read_recipe(ROOT / train[1], train[4:])
    assert recipe.data.root in (str(root), str(root / "archive v2"))
    assert find_pairs(recipe.data, "train").pairs
    assert find_pairs(recipe.data, "val").pairs


@pytest.mark.parametrize(
    "name", ["11 is void", "no val split, no classes", "0 and 255, one class", "other folders"]
)
def test_training_prints_remedies_as_well(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FAULTY[name](tmp_path)
    small = ["train.crop=[64, 64]", "train.batch_size=2", "train.workers=0"]
    words, pasted = ["train", "quick", f"data.root={tmp_path}", "--dry-run", *small], 0
    while (code := main(words)) == 2 and pasted < 4:
        (line,) = (
            line for line in capsys.readouterr().err.splitlines() if line.startswith("to mend it: ")
        )
        words, pasted = shlex.split(line)[4:], pasted + 1
    assert code == 0, capsys.readouterr()
    assert pasted, "nothing was wrong"


def test_all_images_are_measured_where_there_is_no_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, (0, 1), splits={"": 3})
    assert main(["weights", str(tmp_path), "train=val"]) == 2
    assert main(["show", str(tmp_path), "--out", str(tmp_path / "a.png")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("or, for all of them: topseg show ")
    assert main(shlex.split(last)[6:]) == 0
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("images", "masks", "splits"),
    [
        ("images/{split}", "labels/{split}", ("train", "val")),
        ("images/{split}", "annotations/{split}", ("train", "valid")),
        ("{split}/images", "{split}/labels", ("train", "validation")),
        ("imgs/{split}", "mask/{split}", ("training", "val")),
    ],
)
def test_usual_names_of_folders(
    images: str, masks: str, splits: tuple[str, ...], tmp_path: Path
) -> None:
    make(tmp_path, (0, 1), images=images, masks=masks, splits=dict.fromkeys(splits, 2))
    assert main(["check", str(tmp_path)]) == 0


def test_the_other_remedy_works_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, range(12), None)
    assert main(["check", str(tmp_path)]) == 2
    text = capsys.readouterr().err
    (line,) = (line for line in text.splitlines() if line.startswith("or, if 11 stands for "))
    words = shlex.split(line.partition(": topseg ")[2])
    assert main(words) == 0
    config = read_data(Path(words[1]), words[2:])
    assert config.ignore_index == 11
    assert len(config.classes or ()) == 11


def test_names_belong_to_the_folder_layout(tmp_path: Path) -> None:
    config = DataConfig(root=str(tmp_path), layout="camvid", masks_dir="gt")
    with pytest.raises(InputError, match="layout camvid has fixed names"):
        find_pairs(config, "train")


def test_one_folder_needs_a_suffix(tmp_path: Path) -> None:
    make(tmp_path, (0, 1), images="{name}.png", masks="{name}.png")
    config = DataConfig(root=str(tmp_path), images_dir=".", masks_dir=".")
    with pytest.raises(InputError, match=r"one folder; say by data.mask_suffix"):
        find_pairs(config, "train")


def test_masks_in_one_folder_are_no_images(tmp_path: Path) -> None:
    make(tmp_path, (0, 1), images="{name}.png", masks="{name}_mask.png", splits={"a": 3})
    (tmp_path / "b_mask.png").write_bytes((tmp_path / "a0x_mask.png").read_bytes())
    config = DataConfig(root=str(tmp_path), images_dir=".", masks_dir=".", mask_suffix="_mask.png")
    found = find_pairs(config, "train")
    assert [(p.image.name, p.mask.name) for p in found.pairs] == [
        (f"a{index}x.png", f"a{index}x_mask.png") for index in range(3)
    ]
    assert [path.name for path in found.orphans] == ["b_mask.png"]


def test_a_map_of_ignored_values_keeps_the_rest(tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    PIL.Image.fromarray(np.arange(12, dtype=np.uint8)[None]).save(mask)
    labels = LabelSet(tuple("abcdefghijk"), tuple((i, 0, 0) for i in range(11)))
    for reader in (
        MaskReader(labels, {11: "ignore"}),
        MaskReader(labels, None, 11),
        MaskReader(labels, None, (11, 255)),
    ):
        assert reader(mask).tolist() == [[*range(11), 255]]
    with pytest.raises(InputError, match=r"value 0 .* expected 1, 255"):
        MaskReader(labels, {1: 0})(mask)  # any other map is complete


def test_a_share_is_held_out(tmp_path: Path) -> None:
    make(tmp_path, (0, 1), splits={"": 20})
    config = DataConfig(root=str(tmp_path), val=0.2)
    val = {pair.name for pair in find_pairs(config, "val").pairs}
    train = {pair.name for pair in find_pairs(config, "train").pairs}
    assert (len(val), len(train), val & train) == (4, 16, set())
    assert {pair.name for pair in find_pairs(config, "val").pairs} == val


def test_sequences_are_held_out_whole(tmp_path: Path) -> None:
    for sequence in "abcdefghij":
        for frame in range(4):
            for kind in ("images", "masks"):
                path = tmp_path / kind / f"{sequence}_{frame:03}.png"
                path.parent.mkdir(exist_ok=True)
                PIL.Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    config = DataConfig(root=str(tmp_path), val=0.3)
    val = [pair.name[7] for pair in find_pairs(config, "val").pairs]
    assert len(val) == 12
    assert all(val.count(sequence) == 4 for sequence in val)


def test_what_validates_does_not_train(tmp_path: Path) -> None:
    make(tmp_path, (0, 1), splits={"": 5})
    (tmp_path / "val.txt").write_text("0x.png\n")
    config = DataConfig(root=str(tmp_path), val="val.txt")
    assert [pair.name for pair in find_pairs(config, "val").pairs] == ["images/0x.png"]
    assert len(find_pairs(config, "train").pairs) == 4


def test_a_dataset_file_counts_wherever_its_folder_is_named(tmp_path: Path) -> None:
    make(tmp_path / "photos", (0, 1, 5), None)
    file = tmp_path / "photos/dataset.yaml"
    file.write_text("classes: [a, b]\nignore_index: 5\n")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {layout: camvid, root: elsewhere, classes: [x]}\n")
    for setting in (f"data.root={tmp_path / 'photos'}", f"data={file}", f"data={file.parent}"):
        data = read_recipe(recipe, [setting]).data
        assert (data.root, data.classes) == (str(file.parent), ("a", "b"))
        assert data.ignore_index == 5
        assert read_recipe(recipe, [setting, "data.ignore_index=6"]).data.ignore_index == 6
