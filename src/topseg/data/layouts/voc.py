"""Pascal VOC 2012: JPEGImages/, SegmentationClass/ and the lists in ImageSets/Segmentation/.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012. With the masks of the Semantic Boundaries
Dataset in SegmentationClassAug/ (http://home.bharathh.info/pubs/codes/SBD) the training split is
``trainaug``: every image with a mask there that is not in the validation list, 10,582 in all. An
image with a mask in both keeps VOC's own.
"""

from __future__ import annotations

from pathlib import Path

from topseg.data.layouts.pairs import Pair, Pairs, files_by_stem, read_list, relative, split_names


def find_pairs(root: Path, value: str | tuple[str, ...] | None, split: str) -> Pairs:
    """Find the pairs of a split (the name of a list: train, trainaug, val, trainval)."""
    home = root
    for inner in ("VOC2012", "VOCdevkit/VOC2012"):
        home = root / inner if (root / inner / "JPEGImages").is_dir() else home
    augmented = (home / "SegmentationClassAug").is_dir()
    default = "trainaug" if split == "train" and augmented else split
    names = [stem for name in split_names(value, default) for stem in _stems(home, name)]
    return Pairs(tuple(_pair(home, stem) for stem in dict.fromkeys(names)))


def _stems(home: Path, name: str) -> list[str]:
    file = home / "ImageSets" / "Segmentation" / f"{name}.txt"
    if name == "trainaug" and not file.is_file():
        masks = files_by_stem(home / "SegmentationClassAug")
        return sorted(masks.keys() - set(_stems(home, "val")))
    return [Path(columns[0]).stem for _, columns in read_list(file)]


def _pair(home: Path, stem: str) -> Pair:
    image = home / "JPEGImages" / f"{stem}.jpg"
    own, more = (home / f"SegmentationClass{end}" / f"{stem}.png" for end in ("", "Aug"))
    mask = more if more.is_file() and not own.is_file() else own
    return Pair(image, mask, relative(image, home))
