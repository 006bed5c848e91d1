"""Leaks: what the splits share, which makes scores look better than they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from topseg.core.errors import InputError
from topseg.data.duplicates import Hashes, near_duplicates
from topseg.data.holdout import group_of
from topseg.data.layouts.layout import Split
from topseg.data.problem import Problem


def find_leaks(
    hashes: Mapping[Split, Hashes], names: Mapping[Split, Sequence[str]], group: str | None
) -> Iterator[Problem]:
    """Find pictures of both splits that look alike, and groups that are in both.

    Args:
        hashes: Of each split's images.
        names: Of each split's images, where the split is there.
        group: Pattern of what images of one group have in common in their names.
    """
    for ours, theirs, cosine in near_duplicates(hashes["val"], hashes["train"]):
        text = f"{ours} (val): looks like {theirs} (train), by {cosine:.0%}"
        yield Problem("look-alike in both splits", text, serious=False)
    if group is None or len(names) < 2:
        return
    try:
        train, val = (
            {group_of(name, group): name for name in names[split]} for split in ("train", "val")
        )
    except InputError as error:
        yield Problem("group", str(error))
        return
    for key in sorted(train.keys() & val.keys()):
        text = f"{val[key]} (val): of one group with {train[key]} (train)"
        yield Problem("group in both splits", text, serious=False)
