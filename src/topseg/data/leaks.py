"""Leaks: what the splits share, which makes scores look better than they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from topseg.core.errors import InputError
from topseg.data.duplicates import Hashes, near_duplicates
from topseg.data.holdout import group_of
from topseg.data.layouts.layout import Split
from topseg.data.layouts.pairs import Pair
from topseg.data.problem import Evidence, Problem


def find_leaks(
    hashes: Mapping[Split, Hashes], pairs: Mapping[Split, Sequence[Pair]], group: str | None
) -> Iterator[Problem]:
    """Find pictures of both splits that look alike, and groups that are in both.

    Args:
        hashes: Of each split's images.
        pairs: Of each split, where it is there.
        group: Pattern of what images of one group have in common in their names.
    """
    for ours, theirs, cosine in near_duplicates(hashes["val"], hashes["train"]):
        text = f"{ours.name} (val): looks like {theirs.name} (train), by {cosine:.0%}"
        kind, evidence = "look-alike in both splits", Evidence(ours.image, other=theirs.image)
        yield Problem(kind, text, False, score=cosine, evidence=evidence)
    if group is None or len(pairs) < 2:
        return
    try:
        train, val = (
            {group_of(pair.name, group): pair for pair in pairs[split]}
            for split in ("train", "val")
        )
    except InputError as error:
        yield Problem("group", str(error))
        return
    for key in sorted(train.keys() & val.keys()):
        ours, theirs = val[key], train[key]
        text = f"{ours.name} (val): of one group with {theirs.name} (train)"
        evidence = Evidence(ours.image, other=theirs.image)
        yield Problem("group in both splits", text, False, evidence=evidence)
