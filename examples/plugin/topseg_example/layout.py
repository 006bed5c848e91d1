"""Suffix: image and mask in one folder, ``SPLIT/a.jpg`` beside ``SPLIT/a_mask.png``."""

from __future__ import annotations

from pathlib import Path

from topseg.core.errors import InputError
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pair, Pairs, join, relative

MARK = "_mask.png"


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Find the masks by their suffix, and the image that each belongs to."""
    return join(_folder(root, root / name) for name in names)


def _folder(root: Path, folder: Path) -> Pairs:
    pairs = []
    for mask in sorted(folder.glob(f"*{MARK}")):
        image = folder / f"{mask.name.removesuffix(MARK)}.jpg"
        pairs.append(Pair(image, mask, relative(image, root)))
    if not pairs:
        raise InputError(f"{folder}: no masks; expected files such as photo.jpg and photo{MARK}")
    return Pairs(tuple(pairs))


SUFFIX = Layout(
    name="suffix",
    help="SPLIT/photo.jpg and SPLIT/photo_mask.png in one folder",
    find_pairs=find_pairs,
)
