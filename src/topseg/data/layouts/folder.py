"""Folder: images/ and masks/ side by side, paired by stem.

The split may be a sub-folder of each (``images/train``, ``masks/train``), a folder around both
(``train/images``, ``train/masks``), or a list file with one image per line; without any of these
all images are the training split, and the validation split has to be named.
"""

from __future__ import annotations

from pathlib import Path

from topseg.core.errors import InputError
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pairs, join, pair_folders, read_list

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
    inside = (root / "images" / name, root / "masks" / name)
    around = (root / name / "images", root / name / "masks")
    return next((pair for pair in (inside, around) if pair[0].is_dir()), None)


def _whole(root: Path, split: Split) -> Pairs:
    """All images of a folder without splits; it is the training split."""
    if not (root / "images").is_dir():
        raise InputError(
            f"{root}: expected images/ and masks/ here (or train/images, train/masks, val/images "
            f"...); is data.root right?{_found(root)}"
        )
    if split != "train" or _folders(root, "val") is not None:
        raise InputError(
            f"{root}: no {split} split; make images/{split} and masks/{split}, or list its images "
            f"one per line in a file and set data.{split}={split}.txt{_found(root)}"
        )
    return pair_folders(root / "images", root / "masks", root)


def _listed(root: Path, path: Path) -> Pairs:
    """The images that a list names (file name or stem below images/), with their masks."""
    whole = pair_folders(root / "images", root / "masks", root)
    known = {pair.name.removeprefix("images/"): pair for pair in whole.pairs}
    known |= {Path(name).with_suffix("").as_posix(): pair for name, pair in known.items()}
    chosen = []
    for number, (name, *_) in read_list(path):
        pair = known.get(name.removeprefix("images/"))
        if pair is None:
            raise InputError(f"{path}: line {number}: no image '{name}' in {root / 'images'}")
        chosen.append(pair)
    return Pairs(tuple(chosen))


def _found(root: Path) -> str:
    folder = root / "images" if (root / "images").is_dir() else root
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return f"; sub-folders of {folder.name}: {', '.join(names[:8])}" if names else ""


LAYOUT = Layout(
    name="folder",
    help="images/ and masks/ by stem, with sub-folders train/ and val/ if there are splits",
    find_pairs=find_pairs,
    default_split=default_split,
)
