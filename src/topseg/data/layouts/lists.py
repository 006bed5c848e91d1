"""Lists: text files with one 'image mask' pair a line, any number of them.

Paths in a list are relative to the data set's root, or, where its first image is not there, to the
list's own folder: so several lists may bring several roots.
"""

from __future__ import annotations

from pathlib import Path

from topseg.data.layouts.pairs import Pairs, join, read_list, read_pairs, split_names


def find_pairs(root: Path, value: str | tuple[str, ...] | None, split: str) -> Pairs:
    """Read the list files of a split (``train.txt`` and ``val.txt`` in the root by default)."""
    names = split_names(value, f"{split}.txt")
    return join(_read(root / name, root) for name in names)


def _read(path: Path, root: Path) -> Pairs:
    _, columns = next(read_list(path))
    base = root if (root / columns[0]).exists() else path.parent
    return read_pairs(path, root, lambda text: base / text)
