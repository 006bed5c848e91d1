"""Lists: text files with one 'image mask' pair per line, any number of them.

Paths in a list are relative to the data set's root, or, where its first image is not there, to the
list's own folder: so several lists may bring several roots.
"""

from __future__ import annotations

import os
from pathlib import Path

from topseg.core.storage import exists
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import Pairs, join, read_list, read_pairs


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Read list files."""
    return join(_read(root / name, root) for name in names)


def _read(path: Path, root: Path) -> Pairs:
    _, columns = next(read_list(path))
    base = root if exists(root / columns[0]) else path.parent
    return read_pairs(path, root, lambda text: base / os.path.expanduser(text))


def default_split(root: Path, split: Split) -> str:
    """Return the list of a split in the root."""
    return f"{split}.txt"


LAYOUT = Layout(
    name="list",
    help="text files with an 'image mask' pair per line, train.txt and val.txt by default",
    find_pairs=find_pairs,
    default_split=default_split,
)
