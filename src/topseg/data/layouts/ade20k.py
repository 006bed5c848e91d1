"""ADE20K (ADEChallengeData2016): images/ and annotations/ with training/ and validation/ in each.

Source: https://github.com/CSAILVision/sceneparsing. Raw 0 is 'other' and becomes ignore, raw v is
class v - 1 (the label map of the standard set). A split is a sub-folder; '.' takes files that lie
in images/ and annotations/ themselves.
"""

from __future__ import annotations

import functools
from pathlib import Path

from topseg.core.labels import standard_set
from topseg.core.storage import is_dir
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pairs, join, pair_folders

_FOLDERS: dict[Split, str] = {"train": "training", "val": "validation"}


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Find the pairs of some splits (sub-folders of images/ and annotations/)."""
    root = _home(root)
    return join(pair_folders(root / "images" / n, root / "annotations" / n, root) for n in names)


def default_split(root: Path, split: Split) -> str:
    """Return the sub-folder of a split."""
    return _FOLDERS[split]


def recognize(root: Path) -> bool:
    """Recognize the data set by its annotations."""
    return is_dir(_home(root) / "annotations" / "validation")


def _home(root: Path) -> Path:
    inner = root / "ADEChallengeData2016"
    return inner if not is_dir(root / "images") and is_dir(inner) else root


LAYOUT = Layout(
    name="ade20k",
    help="images/ and annotations/ with training/ and validation/ in each, as ADE20K",
    find_pairs=find_pairs,
    default_split=default_split,
    labels=functools.partial(standard_set, "ade20k"),
    recognize=recognize,
)
