"""Folder: images/ and masks/ side by side, paired by stem.

The split may be a sub-folder of each (``images/train``, ``masks/train``), a folder around both
(``train/images``, ``train/masks``), or a list file with one image per line; without any of these
all images are the training split, and the validation split has to be named. Other usual names are
taken as well (labels or annotations for masks, valid or validation for val).
"""

from __future__ import annotations

from pathlib import Path

from topseg.core.errors import InputError
from topseg.core.storage import is_dir, subfolders
from topseg.data.errors import DataError
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pairs, join, pair_folders, read_list

_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation")
_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
"""Usual names; the first is the one that texts recommend."""
_WHOLE = "."
"""Name of the split that is the whole folder."""


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Find the pairs of some splits, below their sub-folders or by their lists."""
    return join(_part(root, name, split) for name in names)


def default_split(root: Path, split: Split) -> str:
    """Return the sub-folder of a split; without one, the whole folder."""
    return _WHOLE if _folders(root, split) is None else split


def _part(root: Path, name: str, split: Split) -> Pairs:
    if name == _WHOLE:
        return _whole(root, split)
    if name.endswith(".txt"):
        return _listed(root, root / name)
    folders = _folders(root, name)
    if folders is None:
        raise InputError(
            f"{root}: no split '{name}' (data.{split}): expected images/{name} and masks/{name}, "
            f"or {name}/images and {name}/masks, or a list file{_found(root)}"
        )
    return pair_folders(*folders, root)


def _folders(root: Path, name: str) -> tuple[Path, Path] | None:
    places = [
        pair
        for split in _SPLITS.get(name, (name,))
        for pair in (
            (_images(root) / split, _masks(root) / split),
            (_images(root / split), _masks(root / split)),
        )
    ]
    return next((pair for pair in places if is_dir(pair[0])), None)


def _images(folder: Path) -> Path:
    """Return the folder of the images, by whichever usual name it has."""
    return next((folder / name for name in _IMAGES if is_dir(folder / name)), folder / "images")


def _masks(folder: Path) -> Path:
    """Return the folder of the masks, by whichever usual name it has."""
    return next((folder / name for name in _MASKS if is_dir(folder / name)), folder / "masks")


def _whole(root: Path, split: Split) -> Pairs:
    """All images of a folder without splits; it is the training split."""
    if not is_dir(_images(root)):
        raise InputError(
            f"{root}: expected images/ and masks/ here (or train/images, train/masks, val/images "
            f"...); is data.root right?{_found(root)}"
        )
    if split != "train" or _folders(root, "val") is not None:
        raise DataError(
            f"{root}: no {split} split; make images/{split} and masks/{split}, or list its images "
            f"one per line in a file {split}.txt and name that, or take a share of the training "
            f"images{_found(root)}",
            *(["val=0.2"] if split == "val" else []),
        )
    return pair_folders(_images(root), _masks(root), root)


def _listed(root: Path, path: Path) -> Pairs:
    """The images that a list names (file name or stem below images/), with their masks."""
    images = _images(root)
    whole, prefix = pair_folders(images, _masks(root), root), f"{images.name}/"
    known = {pair.name.removeprefix(prefix): pair for pair in whole.pairs}
    known |= {Path(name).with_suffix("").as_posix(): pair for name, pair in known.items()}
    chosen = []
    for number, (name, *_) in read_list(path):
        pair = known.get(name.removeprefix(prefix))
        if pair is None:
            raise InputError(f"{path}: line {number}: no image '{name}' in {images}")
        chosen.append(pair)
    return Pairs(tuple(chosen))


def _found(root: Path) -> str:
    folder = _images(root) if is_dir(_images(root)) else root
    names = subfolders(folder) if is_dir(folder) else []
    return f"; sub-folders of {folder.name}: {', '.join(names[:8])}" if names else ""


LAYOUT = Layout(
    name="folder",
    help="images/ and masks/ by stem, with sub-folders train/ and val/ if there are splits",
    find_pairs=find_pairs,
    default_split=default_split,
)
