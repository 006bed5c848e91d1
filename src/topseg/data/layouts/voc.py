"""Pascal VOC 2012: JPEGImages/, SegmentationClass/ and the lists in ImageSets/Segmentation/.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012. With the masks of the Semantic Boundaries
Dataset in SegmentationClassAug/ (http://home.bharathh.info/pubs/codes/SBD) the training split is
``trainaug``: every image with a mask there that is not in the validation list, 10,582 in all. An
image with a mask in both keeps VOC's own.
"""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath

from topseg.core.labels import standard_set
from topseg.core.storage import is_dir, is_file
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import (
    SUFFIXES,
    Pair,
    Pairs,
    files_by_stem,
    read_list,
    relative,
)


def find_pairs(root: Path, names: tuple[str, ...] | None, split: Split) -> Pairs:
    """Find the pairs of some splits (the names of lists: train, trainaug, val, trainval)."""
    home = _home(root)
    names = names or (default_split(root, split),)
    suffixes: dict[str, str] = {}  # of each stem, as the first list has it
    for name in names:
        for stem, suffix in _entries(home, name):
            suffixes.setdefault(stem, suffix)
    return Pairs(tuple(_pair(home, stem, suffix) for stem, suffix in suffixes.items()))


def default_split(root: Path, split: Split) -> str:
    """Return the list of a split: trainaug for training where its masks are there."""
    augmented = is_dir(_home(root) / "SegmentationClassAug")
    return "trainaug" if split == "train" and augmented else split


def recognize(root: Path) -> bool:
    """Recognize the data set by the folders of its images and lists."""
    home = _home(root)
    return is_dir(home / "JPEGImages") and is_dir(home / "ImageSets" / "Segmentation")


def _home(root: Path) -> Path:
    home = root
    for inner in ("VOC2012", "VOCdevkit/VOC2012"):
        home = root / inner if is_dir(root / inner / "JPEGImages") else home
    return home


def _entries(home: Path, name: str) -> list[tuple[str, str]]:
    """Return the stems that a list names, each with the suffix that it gives or .jpg."""
    file = home / "ImageSets" / "Segmentation" / f"{name}.txt"
    if name == "trainaug" and not is_file(file):
        masks = files_by_stem(home / "SegmentationClassAug")
        return [
            (stem, ".jpg") for stem in sorted(masks.keys() - dict(_entries(home, "val")).keys())
        ]
    return [_entry(columns[0]) for _, columns in read_list(file)]


def _entry(text: str) -> tuple[str, str]:
    """Part the suffix of an image from a list's entry; other dots belong to the stem."""
    path = PurePosixPath(text.removeprefix("/"))
    if path.parts[0] == "JPEGImages":
        path = path.relative_to("JPEGImages")
    if path.suffix.lower() in SUFFIXES:
        return str(path.with_suffix("")), path.suffix
    return str(path), ".jpg"


def _pair(home: Path, stem: str, suffix: str) -> Pair:
    files = [home / "JPEGImages" / f"{stem}{end}" for end in (suffix, ".jpg", *sorted(SUFFIXES))]
    image = next((file for file in files if is_file(file)), files[0])
    own, more = (home / f"SegmentationClass{end}" / f"{stem}.png" for end in ("", "Aug"))
    mask = more if is_file(more) and not is_file(own) else own
    return Pair(image, mask, relative(image, home))


LAYOUT = Layout(
    name="voc",
    help="JPEGImages/, SegmentationClass/ and lists in ImageSets/Segmentation/, as VOC",
    find_pairs=find_pairs,
    default_split=default_split,
    labels=functools.partial(standard_set, "voc"),
    recognize=recognize,
    image_names=r"20\d\d_\d{6}",
)
