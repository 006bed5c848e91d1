"""Cityscapes: leftImg8bit/ and gtFine/ (gtCoarse/) with split/city/ in each.

Source: https://github.com/mcordts/cityscapesScripts. Masks are ``*_labelIds.png`` (34 raw values,
19 of them classes); where a split has none, ``*_labelTrainIds.png``, whose values are the classes.
"""

from __future__ import annotations

import functools
from pathlib import Path

from topseg.core.labels import LabelMap, standard_set
from topseg.core.storage import is_dir, walk
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pairs, join, pair_folders

TRAIN_IDS: LabelMap = {value: value for value in range(19)} | {255: "ignore"}


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Find the pairs of some splits (sub-folders: train, val, train_extra)."""
    return join(_part(root, name) for name in names)


def recognize(root: Path) -> bool:
    """Recognize the data set by the folder of its images."""
    return is_dir(_place(root, "leftImg8bit"))


def _place(root: Path, kind: str) -> Path:
    """Return the folder of images or masks: unpacked, or in the ZIP that is downloaded."""
    packed = root / f"{kind}_trainvaltest.zip" / kind
    return packed if not is_dir(root / kind) and is_dir(packed) else root / kind


def _pass(problem: str) -> None:
    """Leave a sub-folder that cannot be read: pairing its files tells of it."""


def _part(root: Path, name: str) -> Pairs:
    fine, coarse = (_place(root, kind) / name for kind in ("gtFine", "gtCoarse"))
    kind, masks = ("gtCoarse", coarse) if is_dir(coarse) and not is_dir(fine) else ("gtFine", fine)
    train_ids = not any(path.name.endswith("_labelIds.png") for path in walk(masks, _pass))
    ending = "labelTrainIds" if train_ids else "labelIds"

    def rename(stem: str) -> str:
        return f"{stem.removesuffix('_leftImg8bit')}_{kind}_{ending}"

    found = pair_folders(_place(root, "leftImg8bit") / name, masks, root, rename)
    orphans = tuple(path for path in found.orphans if path.stem.endswith(f"_{ending}"))
    return Pairs(found.pairs, orphans, found.others, TRAIN_IDS if train_ids else None)


LAYOUT = Layout(
    name="cityscapes",
    help="leftImg8bit/ and gtFine/ (or gtCoarse/) with SPLIT/CITY/ in each, as Cityscapes",
    find_pairs=find_pairs,
    labels=functools.partial(standard_set, "cityscapes"),
    recognize=recognize,
)
