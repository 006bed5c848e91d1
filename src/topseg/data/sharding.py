"""Sharding: a data set as TAR files of some hundred megabytes, for disks that dislike small files.

The bytes of images and masks are copied as they are, in the data set's own order; with the
``dataset.yaml`` beside them a run on the shards is the run on the folder, bit by bit. The same data
set gives the same shards.
"""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final

from topseg.core.config import to_yaml
from topseg.core.errors import InputError
from topseg.core.files import atomic_path, write_text
from topseg.core.storage import read_bytes, stamp
from topseg.data.classes import written_out
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs, open_dataset
from topseg.data.layouts.layout import Split
from topseg.data.layouts.pairs import Pair
from topseg.data.layouts.shards import MASK, encode_key

_MEGABYTE: Final = 10**6
_SPLITS: Final[tuple[Split, ...]] = ("train", "val")


def write_shards(
    config: DataConfig,
    out: Path,
    *,
    megabytes: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> DataConfig:
    """Write both splits of a data set as shards, and a ``dataset.yaml`` that describes them.

    Args:
        config: The data set.
        out: Where; a new or empty folder.
        megabytes: About how large a shard becomes, in 10^6 bytes.
        progress: Called after each pair with (done, total).

    Returns:
        The section that reads the shards.

    Raises:
        InputError: The folder is not empty, a file is missing or cannot be read, or the masks of
            the two splits have different meanings.
    """
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: not empty; give a new folder, so that no old shard stays in it")
    splits = {split: find_pairs(config, split) for split in _SPLITS}
    for split in _SPLITS:  # missing files are told before the first is copied
        open_dataset(config, split)
    train, val = (written_out(config, splits[split]) for split in _SPLITS)
    if train != val:
        raise InputError(
            "data.label_map: the masks of train and val have different values; write each split "
            "from its own kind of masks"
        )
    total, done = sum(len(found.pairs) for found in splits.values()), 0
    patterns: list[str] = []
    for split, found in splits.items():
        number = -1
        for number, shard in enumerate(_cut(found.pairs, megabytes * _MEGABYTE)):
            _write_shard(out / f"{split}-{number:06d}.tar", shard)
            done += len(shard)
            if progress:
                progress(done, total)
        patterns.append(f"{split}-{{000000..{number:06d}}}.tar")
    made = DataConfig(
        layout="shards",
        train=patterns[0],
        val=patterns[1],
        group=config.group,
        classes=train.classes,
        palette=train.palette,
        ignore_index=train.ignore_index,
        label_map=train.label_map,
        masks=train.masks,
        ignore_colors=train.ignore_colors,
        nearest_color=train.nearest_color,
    )
    write_text(out / "dataset.yaml", to_yaml(made))
    return replace(made, root=str(out))


def _cut(pairs: tuple[Pair, ...], limit: int) -> Iterator[list[tuple[str, Pair]]]:
    """Part pairs into shards of about as many bytes, each pair with a key of its own."""
    shard: list[tuple[str, Pair]] = []
    keys: set[str] = set()
    size = 0
    for pair in pairs:
        key = _key(pair, keys)
        keys.add(key)
        more = sum(stamp(file)[1] + tarfile.BLOCKSIZE for file in (pair.image, pair.mask))
        if shard and size + more > limit:
            yield shard
            shard, size = [], 0
        shard.append((key, pair))
        size += more
    if shard:
        yield shard


def _key(pair: Pair, keys: set[str]) -> str:
    """Return a pair's name without suffix as a key that no other pair has."""
    path = PurePath(pair.name)
    parts = [part for part in path.with_suffix("").parts if part not in (path.anchor, "..")]
    key = encode_key("/".join(parts))
    tries = (f"{key}-{number}" for number in itertools.count(2))
    return key if key not in keys else next(one for one in tries if one not in keys)


def _write_shard(path: Path, shard: list[tuple[str, Pair]]) -> None:
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as file:
        for key, pair in shard:
            ending = f"{MASK}{pair.mask.suffix.lower()}"
            _add(file, f"{key}{pair.image.suffix.lower()}", read_bytes(pair.image))
            _add(file, f"{key}.{ending}", read_bytes(pair.mask))


def _add(file: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without time or owner: the same data gives the same bytes
    entry.size = len(data)
    file.addfile(entry, io.BytesIO(data))
