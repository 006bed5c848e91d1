"""Shards: TAR files that hold each image beside its mask, in the order in which they were written.

The convention is WebDataset's (https://github.com/webdataset/webdataset): a member's name up to the
first dot after the last slash is the sample's key, the rest tells what it is. ``a.jpg`` with
``a.mask.png`` is a pair; so is an image with a ``seg``, ``label`` or ``annotation`` beside it, and
a JPEG or WebP with a PNG. A dot in a key is written %2E, and % is %25.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from topseg.core.archives import open_archive
from topseg.core.errors import InputError
from topseg.data.layouts.layout import Layout, Split
from topseg.data.layouts.pairs import SUFFIXES, Pair, Pairs, join

MASK: Final = "mask"
"""What stands between a key and the suffix of its mask."""
_MASKS: Final = re.compile(r"(mask|seg|label|annotation)[a-z_]*\.", re.IGNORECASE)
_LOSSY: Final = frozenset({".jpg", ".jpeg", ".webp"})
_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS: Final = 100_000


def find_pairs(root: Path, names: tuple[str, ...], split: Split) -> Pairs:
    """Find the pairs of some splits: patterns of TAR files, or words that such files begin with."""
    return join(_read(shard) for name in names for shard in find_shards(root, name))


def find_shards(root: Path, name: str) -> list[Path]:
    """Return the files of a pattern, in order.

    Args:
        root: What the pattern is relative to.
        name: A file, a pattern with ``*`` or a range such as ``train-{000000..000041}.tar``; other
            words, such as ``train``, are short for ``train-*.tar``.

    Raises:
        InputError: There is none, or a shard of the range is missing.
    """
    pattern = name if re.search(r"[*?\[{]|\.tar$", name) else f"{name}-*.tar"
    found: list[Path] = []
    for one in _expanded(pattern):
        path = root / one
        if re.search(r"[*?\[]", one):
            anchor = Path(one).anchor
            matches = sorted((Path(anchor) if anchor else root).glob(one.removeprefix(anchor)))
        else:
            matches = [path] if path.is_file() else []
        if not matches:
            raise InputError(f"{path}: no such shard; is data.root right? (now {root})")
        found += matches
    return found


def _expanded(pattern: str) -> list[str]:
    """Write a range of numbers out."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MOST_SHARDS:
        raise InputError(f"{pattern}: got a range of {last - first + 1}, expected 1 to 100000")
    texts = (f"{number:0{len(found[1])}d}" for number in range(first, last + 1))
    ends = _expanded(pattern[found.end() :])
    return [f"{pattern[: found.start()]}{text}{end}" for text in texts for end in ends]


def _read(shard: Path) -> Pairs:
    """Pair the members of one shard by their keys, in order."""
    samples: dict[str, list[str]] = {}
    for name in open_archive(str(shard)).members:
        folder, slash, last = name.rpartition("/")
        key, _, ending = last.partition(".")
        if f".{ending.rpartition('.')[2].lower()}" in SUFFIXES:
            samples.setdefault(f"{folder}{slash}{key}", []).append(ending)
    pairs, orphans = [], []
    for key, endings in samples.items():
        image, mask = _roles(endings)
        if image is None:
            orphans.append(shard / f"{key}.{mask}")
            continue
        member = shard / f"{key}.{mask or f'{MASK}.png'}"
        pairs.append(Pair(shard / f"{key}.{image}", member, f"{decode_key(key)}.{image}"))
    return Pairs(tuple(pairs), tuple(orphans))


def _roles(endings: list[str]) -> tuple[str | None, str | None]:
    """Return the endings of a sample's image and of its mask; None: it has none."""
    masks = [ending for ending in endings if _MASKS.match(ending)]
    images = [ending for ending in endings if ending not in masks]
    if not masks:
        lossy = [ending for ending in images if f".{ending.lower()}" in _LOSSY]
        exact = [ending for ending in images if ending not in lossy]
        if lossy and exact:
            images, masks = lossy, exact
    return next(iter(images), None), next(iter(masks), None)


def encode_key(name: str) -> str:
    """Write a name so that no dot in it ends the key."""
    return name.replace("%", "%25").replace(".", "%2E")


def decode_key(key: str) -> str:
    """Return the name that a key was written from."""
    return key.replace("%2E", ".").replace("%25", "%")


def default_split(root: Path, split: Split) -> str:
    """Return the word that the files of a split begin with."""
    return split


def recognize(root: Path) -> bool:
    """Recognize shards by their numbers."""
    return next(root.glob("train-[0-9]*.tar"), None) is not None


LAYOUT = Layout(
    name="shards",
    help="TAR files of images beside their masks (WebDataset), train-*.tar and val-*.tar",
    find_pairs=find_pairs,
    default_split=default_split,
    recognize=recognize,
)
