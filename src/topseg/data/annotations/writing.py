"""Writing: one list for each split, and dataset.yaml."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from topseg.core.errors import InputError
from topseg.core.files import write_text
from topseg.core.labels import LabelSet
from topseg.data.annotations.record import Done

HELD_OUT = 0.2
"""Share of the images that validates where the source has no split for that."""


def list_line(out: Path, image: Path, mask: Path) -> str:
    """Return the line of a list that names an image and its mask, relative to the list.

    Raises:
        InputError: A name has characters that a list cannot hold.
    """
    folder = os.path.realpath(out)
    names = []
    for path in (image, mask):
        real = os.path.join(os.path.realpath(path.parent), path.name)
        try:
            names.append(Path(os.path.relpath(real, folder)).as_posix())
        except ValueError:  # another drive of Windows
            names.append(Path(real).as_posix())
    line = "\t".join(names)
    if line.startswith(("#", "~")) or line.splitlines() != [line]:
        raise InputError(f"{image}: a name that a list cannot hold; rename it")
    if [part.strip() for part in line.split("\t")] != names:
        raise InputError(f"{image}: a name that a list cannot hold; rename it")
    return line


def write_dataset(out: Path, labels: LabelSet, done: Sequence[Done]) -> None:
    """Write the lists and dataset.yaml."""
    splits = {split: [one.line for one in done if one.split == split] for split in _splits(done)}
    if len(splits) == 1:  # one split alone trains, whatever it is called
        splits = {"train": next(iter(splits.values()))}
    for split, lines in splits.items():
        write_text(out / f"{split}.txt", "".join(f"{line}\n" for line in lines))
    for split in {"train", "val", "test"} - splits.keys():
        (out / f"{split}.txt").unlink(missing_ok=True)
    tree: dict[str, Any] = {"layout": "list"}
    tree |= {"train": f"{'train' if 'train' in splits else min(splits)}.txt"}
    tree |= {"val": "val.txt" if "val" in splits else HELD_OUT}
    tree |= {"classes": list(labels.names), "palette": [list(color) for color in labels.palette]}
    if labels.num_classes == 1:  # said, because masks of 0 and 255 often mean two classes
        tree |= {"label_map": {0: 0, 255: "ignore"}}
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_text(out / "dataset.yaml", text)


def _splits(done: Sequence[Done]) -> list[str]:
    return sorted({one.split for one in done})
