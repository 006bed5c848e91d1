"""Faults put into a good data set one by one: each is found with its file, value and severity."""

import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.synthetic.scenes import draw_scene

SIZE = (192, 256)


def save(path: Path, pixels: Any, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(pixels)).save(path, **more)


def scene(index: int) -> Any:
    return draw_scene(0, index).image


def blocks(*values: int) -> Any:
    """A mask of as many columns as values."""
    return np.repeat(np.uint8([values]), SIZE[0], axis=0).repeat(SIZE[1] // len(values), axis=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pairs to train on and two to validate on, all different, every class in each."""
    root = tmp_path / "set"
    for i, name in enumerate(("train/s1_a", "train/s1_b", "train/s2_a", "val/s3_a", "val/s3_b")):
        save(root / f"images/{name}.jpg", scene(i))
        save(root / f"masks/{name}.png", blocks(0, 1, 2, 255))
    (root / "classes.txt").write_text("sky\nroad\ntree\n")
    for split in ("train", "val"):
        names = sorted(path.stem for path in (root / "images" / split).iterdir())
        lines = [f"images/{split}/{name}.jpg masks/{split}/{name}.png\n" for name in names]
        (root / f"{split}.txt").write_text("".join(lines))
    return root


Seed = Callable[[Path], Any]


@dataclass(frozen=True)
class Fault:
    """What is done to the data set, and what check shall say.

    Attributes:
        seed: Puts the fault in; returns changes of the data section, or anything else.
        kind: Of the problem.
        text: Pattern of its text: the file and the value.
        serious: Whether it is an error.
        besides: Kinds of other problems that follow from it.
    """

    seed: Seed
    kind: str
    text: str
    serious: bool = True
    besides: tuple[str, ...] = ()


def write(name: str, data: bytes) -> Seed:
    return lambda root: (root / name).write_bytes(data)


def cut(name: str) -> Seed:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-400])


def put(name: str, pixels: Callable[[], Any], old: str = "", **more: Any) -> Seed:
    """Save pixels, in place of another file where the suffix changes."""

    def seed(root: Path) -> None:
        if old:
            (root / old).unlink()
        if name.endswith(".npy"):
            np.save(root / name, pixels())
        else:
            save(root / name, pixels(), **more)

    return seed


def listed(split: str, line: str) -> Seed:
    def seed(root: Path) -> dict[str, Any]:
        path = root / f"{split}.txt"
        path.write_text(f"{path.read_text()}{line}\n")
        return {"layout": "list"}

    return seed


def colored(root: Path) -> dict[str, Any]:
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = [(0, 0, 9), (0, 9, 0), (9, 0, 0)]
    for path in (root / "masks").rglob("*.png"):
        save(path, palette[np.asarray(PIL.Image.open(path))])
    odd = palette[blocks(0, 1, 2, 255)]
    odd[3, 5] = (1, 2, 3)
    save(root / "masks/val/s3_a.png", odd)
    return {"masks": "color", "palette": palette[:3].tolist(), "ignore_colors": [[0, 0, 0]]}


def black_and_white(root: Path) -> dict[str, Any]:
    for path in (root / "masks").rglob("*.png"):
        save(path, blocks(0, 255))
    return {"classes": ["sky", "road"]}


def one_class(root: Path) -> dict[str, Any]:
    for path in (root / "masks").rglob("*.png"):
        save(path, blocks(0, 0))
    return {"classes": ["sky"]}


def damaged_in_a_zip(root: Path) -> dict[str, Any]:
    packed = root.parent / "set.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(root.rglob("*.*")):
            file.write(path, path.relative_to(root))
    data = packed.read_bytes()
    at = data.index(b"images/train/s2_a.jpg") + 5000
    packed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    return {"root": str(packed)}


def without_val(root: Path) -> None:
    shutil.rmtree(root / "images/val")
    shutil.rmtree(root / "masks/val")


def moved_of_a_group(root: Path) -> dict[str, Any]:
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        shutil.copy(root / kind / f"train/s2_a.{suffix}", root / kind / f"val/s2_b.{suffix}")
    save(root / "images/val/s2_b.jpg", scene(9))
    return {"group": r"s\d"}


def brighter(root: Path) -> None:
    image = np.clip(scene(2) * 1.15, 0, 255).astype(np.uint8)
    save(root / "images/val/s3_b.jpg", image[::2, ::2].repeat(2, axis=0).repeat(2, axis=1))


def turned() -> Any:
    return blocks(0, 1, 2, 255).T


def spoiled(value: int, dtype: type = np.uint8) -> Callable[[], Any]:
    def make() -> Any:
        mask = blocks(0, 1, 2, 255).astype(dtype)
        mask[7, 11] = value
        return mask

    return make


S = r"images/train/s2_a.jpg"
M = r"masks/train/s2_a.png"
NO_S2 = r"/masks/train/s2_a.png: no such file, the mask of images/train/s2_a.jpg"
FAULTS = {
    "image cut off": Fault(cut(S), "unreadable image", rf"{S}: truncated, the end of the image"),
    "image of no bytes": Fault(write(S, b""), "unreadable image", rf"{S}: the file is empty"),
    "image of text": Fault(write(S, b"text"), "unreadable image", rf"{S}: not readable as an im"),
    "image of two channels": Fault(
        put("images/train/s2_a.npy", lambda: np.zeros((*SIZE, 2), np.uint8), S),
        "unreadable image",
        r"s2_a.npy: got 2 channels, expected 3",
    ),
    "image of 16 bits": Fault(
        put("images/train/s2_a.png", lambda: blocks(0, 1).astype(np.uint16), S),
        "unreadable image",
        r"s2_a.png: got uint16 values, expected 8-bit; set input.scale",
    ),
    "image that is not there": Fault(
        listed("train", "images/x.jpg masks/train/s1_a.png"),
        "missing image",
        r"/images/x.jpg: no such file",
    ),
    "mask that is not there": Fault(lambda root: (root / M).unlink(), "missing mask", NO_S2),
    "mask of another name": Fault(
        lambda root: (root / M).rename(root / "masks/train/s9.png"),
        "mask without an image",
        r"/masks/train/s9.png",
        serious=False,
        besides=("missing mask",),
    ),
    "mask cut off": Fault(cut(M), "mask", rf"{M}: truncated, the end of the mask is missing"),
    "mask of no bytes": Fault(write(M, b""), "mask", rf"{M}: the file is empty"),
    "mask of text": Fault(write(M, b"text"), "mask", rf"{M}: not readable as a mask"),
    "mask of a value without a class": Fault(
        put(M, spoiled(7)),
        "mask",
        rf"{M}: value 7 at row 7, column 11 \(1 such pixels\), expected 0-2, 255",
    ),
    "mask of 16 bits beyond the classes": Fault(
        put(M, spoiled(300, np.uint16)), "mask", rf"{M}: value 300 at row 7, column 11"
    ),
    "mask of colours": Fault(
        put(M, lambda: scene(2)), "mask", rf"{M}: got colours, expected one number per pixel"
    ),
    "colour without a class": Fault(
        colored,
        "mask",
        r"val/s3_a.png: colour \[1, 2, 3\] at row 3, column 5 ",
    ),
    "mask as JPEG": Fault(
        put("masks/train/s2_a.jpg", lambda: blocks(0, 1, 2, 255), M),
        "mask",
        r"masks/train/s2_a.jpg: JPEG changes a mask's values",
    ),
    "mask as lossy WebP": Fault(
        put("masks/train/s2_a.webp", lambda: blocks(0, 1, 2, 255), M),
        "mask",
        r"masks/train/s2_a.webp: WEBP changes a mask's values",
    ),
    "mask of fractions": Fault(
        put("masks/train/s2_a.npy", lambda: np.zeros(SIZE, np.float32), M),
        "mask",
        r"s2_a.npy: got float32 values, expected whole numbers",
    ),
    "mask of another size": Fault(
        put(M, lambda: blocks(0, 1, 2, 255)[1:]),
        "size",
        rf"{M}: got 256x191 pixels, expected 256x192 as its image .*/{S}; make them equal",
    ),
    "mask that is turned": Fault(
        put(M, turned),
        "size",
        rf"{M}: got 192x256 pixels, expected 256x192 .*one of them is",
    ),
    "mask without a class": Fault(
        put(M, lambda: blocks(255, 255)), "mask without a class", M, serious=False
    ),
    "two masks of one stem": Fault(
        put("masks/train/s2_a.tif", lambda: blocks(0, 1)),
        "train split",
        r"masks/train/s2_a.png: s2_a.tif has the same stem|s2_a.tif: s2_a.png has the same stem",
    ),
    "file of no image format": Fault(
        write("images/train/notes.pdf", b"%PDF"),
        "file passed over",
        r"/images/train/notes.pdf: no known image format",
        serious=False,
    ),
    "split that is not there": Fault(without_val, "val split", r"no val split; make images/val"),
    "list of three columns": Fault(
        listed("val", "a b c"),
        "val split",
        r"val.txt: line 3: got 3 columns, expected 'image mask'",
    ),
    "pair that is listed twice": Fault(
        listed("train", f"{S} {M}"),
        "picture twice in a split",
        rf"{S}: listed twice \(train\)",
        serious=False,
    ),
    "picture that is in a split twice": Fault(
        lambda root: save(root / S, scene(0)),
        "picture twice in a split",
        rf"{S}: the same picture as images/train/s1_a.jpg \(train\)",
        serious=False,
    ),
    "picture of both splits": Fault(
        lambda root: save(root / "images/val/s3_b.jpg", scene(2)),
        "picture in both splits",
        rf"images/val/s3_b.jpg: in val and, the same picture, in train \({S}\)",
        serious=False,
    ),
    "copy in both splits": Fault(
        brighter,
        "look-alike in both splits",
        rf"images/val/s3_b.jpg \(val\): looks like {S} \(train\), by (8|9)\d%",
        serious=False,
    ),
    "group in both splits": Fault(
        moved_of_a_group,
        "group in both splits",
        r"images/val/s2_b.jpg \(val\): of one group with images/train/s2_a.jpg \(train\)",
        serious=False,
    ),
    "name without its group": Fault(
        lambda root: {"group": "s[12]"},
        "group",
        r"data.group: 's\[12\]' is not found in 'images",
    ),
    "class that no mask has": Fault(
        lambda root: (root / "classes.txt").write_text("sky\nroad\ntree\ncar\n"),
        "class without pixels",
        r"(train|val): no pixel of 'car'",
        serious=False,
    ),
    "255 that was to be a class": Fault(
        black_and_white,
        "masks of 0 and 255",
        r"the masks hold 0 and 255 only",
        besides=("class without pixels",),
    ),
    "one class alone": Fault(
        one_class, "one class", r"(train|val): 'sky' is the only class", serious=False
    ),
    "damage in a ZIP": Fault(
        damaged_in_a_zip,
        "unreadable image",
        r"set.zip/images/train/s2_a.jpg: damaged \(its checksum is another one\)",
    ),
}


def test_the_data_set_is_good_before(root: Path) -> None:
    assert len(FAULTS) >= 30
    for layout in ("folder", "list"):
        assert check(DataConfig(root=str(root), layout=layout)).problems == []


@pytest.mark.parametrize("name", FAULTS)
def test_fault(root: Path, name: str) -> None:
    fault = FAULTS[name]
    changes = fault.seed(root)
    more = changes if isinstance(changes, dict) else {}
    config: Any = {"root": str(root)} | more
    report = check(DataConfig(**config))
    found = [problem for problem in report.problems if problem.kind == fault.kind]
    assert found, report.text()
    for problem in found:
        assert problem.serious == fault.serious
    texts = " ".join(problem.text for problem in found)
    assert re.search(fault.text, texts), texts
    others = {problem.kind for problem in report.problems} - {fault.kind, *fault.besides}
    assert not others, report.text()
