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

_FLAGS = ("-1", "0", "1")
"""What VOC's lists of one class have after a name."""


def find_pairs(root: Path, names: tuple[str, ...] | None, split: Split) -> Pairs:
    """Find the pairs of some splits.

    Args:
        root: VOC2012, or the folder that holds it.
        names: Of lists: train, trainaug, val, trainval; None: the one that the split has by rule.
        split: Which split.
    """
    home = _home(root)
    names = names or (default_split(root, split),)
    entries = dict.fromkeys(entry for name in names for entry in _entries(home, name))
    pairs = {pair.image: pair for pair in (_pair(home, entry) for entry in entries)}
    return Pairs(tuple(pairs.values()))


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


def _entries(home: Path, name: str) -> list[str]:
    """Return the images that a list names, below JPEGImages/, with or without a suffix."""
    file = home / "ImageSets" / "Segmentation" / f"{name}.txt"
    if name == "trainaug" and not is_file(file):
        masks = files_by_stem(home / "SegmentationClassAug")
        return sorted(masks.keys() - {split_suffix(one)[0] for one in _entries(home, "val")})
    return [read_entry(columns) for _, columns in read_list(file)]


def read_entry(columns: list[str]) -> str:
    """Return the image that a list's line names, below JPEGImages/; a flag or a mask may follow."""
    alone = len(columns) == 1 or columns[-1] in _FLAGS or "/" in columns[-1]
    path = PurePosixPath((columns[0] if alone else " ".join(columns)).replace("\\", "/"))
    parts = [part for part in path.parts if part != "/"]
    if "JPEGImages" in parts:
        parts = parts[parts.index("JPEGImages") + 1 :]
    return "/".join(parts)


def split_suffix(entry: str) -> tuple[str, str]:
    """Split an entry into its stem and the suffix of an image; other dots belong to the stem."""
    suffix = PurePosixPath(entry).suffix
    known = suffix if suffix.lower() in SUFFIXES else ""
    return entry.removesuffix(known), known


def _pair(home: Path, entry: str) -> Pair:
    """Return the files of an entry; what looks like a suffix may be a part of the stem."""
    stem, known = split_suffix(entry)
    places = [(stem, known)] if known else []
    places += [
        (one, end)
        for one in dict.fromkeys((entry, stem))
        for ending in (".jpg", *sorted(SUFFIXES))
        for end in (ending, ending.upper())
    ]
    images = home / "JPEGImages"
    stem, end = next((p for p in places if is_file(images / "".join(p))), places[0])
    image = images / f"{stem}{end}"
    masks = [
        home / f"SegmentationClass{part}" / f"{stem}{ending}"
        for part in ("", "Aug")
        for ending in (".png", ".PNG")
    ]
    return Pair(image, next(filter(is_file, masks), masks[0]), relative(image, home))


LAYOUT = Layout(
    name="voc",
    help="JPEGImages/, SegmentationClass/ and lists in ImageSets/Segmentation/, as VOC",
    find_pairs=find_pairs,
    default_split=default_split,
    labels=functools.partial(standard_set, "voc"),
    recognize=recognize,
    image_names=r"20\d\d_\d{6}",
)
