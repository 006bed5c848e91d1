"""ADE20K (ADEChallengeData2016): images/ and annotations/ with training/ and validation/ in each.

Source: https://github.com/CSAILVision/sceneparsing. Raw 0 is 'other' and becomes ignore, raw v is
class v - 1 (the label map of the standard set). A split is a sub-folder; '.' takes files that lie
in images/ and annotations/ themselves.
"""

from __future__ import annotations

from pathlib import Path

from topseg.data.layouts.pairs import Pairs, join, pair_folders, split_names

_FOLDERS = {"train": "training", "val": "validation"}


def find_pairs(root: Path, value: str | tuple[str, ...] | None, split: str) -> Pairs:
    """Find the pairs of a split."""
    if not (root / "images").is_dir() and (root / "ADEChallengeData2016").is_dir():
        root = root / "ADEChallengeData2016"
    names = split_names(value, _FOLDERS[split])
    return join(pair_folders(root / "images" / n, root / "annotations" / n, root) for n in names)
