"""Holdout: a share of a training split, taken out of it for validation.

Which images are held out follows from their names alone, so it is the same on every machine, and an
image that is added moves at most one other. Frames of one sequence look alike: where names show
sequences (the same text but for the number at the end, or the same folder), whole sequences are
held out; a pattern names other groups, such as the tiles of one scene. Where the classes of each
image are given, every class is divided by the same share. An image that is added to groups, or to
classes that are divided, may move several others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.data.layouts.pairs import Pairs

_LEAST_SEQUENCES = 5
"""With fewer, a share can not be met by whole sequences: single images are held out."""


def hold_out(
    pairs: Pairs,
    share: float,
    group: str | None = None,
    presence: NDArray[np.bool_] | None = None,
) -> tuple[Pairs, Pairs]:
    """Divide a split.

    Args:
        pairs: The split.
        share: About how much of it is held out, above 0 and below 1.
        group: Pattern of what images of one group have in common in their names.
        presence: (N, K) whether an image shows a class, to divide every class by the share.

    Returns:
        What stays, and what is held out; each has one pair at least.

    Raises:
        InputError: There are fewer than two images or groups, or a name without the pattern.
    """
    if len({pair.name for pair in pairs.pairs}) < 2:
        raise InputError(f"data.val: got {share}, but there are fewer than two images to divide")
    groups = _group(pairs, group)
    if presence is None:
        held = _by_names(groups, share, len(pairs.pairs))
    else:
        held = _by_classes(groups, share, presence)
    smallest = min(groups.values(), key=lambda members: len(members))
    held = held or set(smallest)
    if len(held) == len(pairs.pairs):
        held -= set(smallest)
    kept = tuple(pair for i, pair in enumerate(pairs.pairs) if i not in held)
    out = tuple(pair for i, pair in enumerate(pairs.pairs) if i in held)
    return dataclasses.replace(pairs, pairs=kept), Pairs(out, label_map=pairs.label_map)


def group_of(name: str, pattern: str) -> str:
    """Return an image's group: what a pattern finds in its name (in parentheses, or all of it).

    Raises:
        InputError: The pattern is none, or is not in the name.
    """
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise InputError(f"data.group: {pattern!r} is no regular expression ({error})") from None
    if found is None:
        raise InputError(f"data.group: {pattern!r} is not found in '{name}'; every name needs it")
    return "\0".join(part or "" for part in found.groups()) or found[0]


def _group(pairs: Pairs, pattern: str | None) -> dict[str, list[int]]:
    """Return the indices of each group's pairs, the groups in an order that names alone decide."""
    groups: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs.pairs):
        key = _sequence(pair.name) if pattern is None else group_of(pair.name, pattern)
        groups.setdefault(key, []).append(i)
    if pattern is not None and len(groups) < 2:
        raise InputError(f"data.group: {pattern!r} puts all images into one group; divide it finer")
    if pattern is None and len(groups) < _LEAST_SEQUENCES:
        groups = {}
        for i, pair in enumerate(pairs.pairs):
            groups.setdefault(pair.name, []).append(i)
    return {key: groups[key] for key in sorted(groups, key=_place)}


def _by_names(groups: dict[str, list[int]], share: float, images: int) -> set[int]:
    """Take groups in order, each that does not exceed the share; none where all are larger."""
    wanted, held = max(1, round(share * images)), set[int]()
    for members in groups.values():
        if len(held) + len(members) <= wanted:
            held |= set(members)
    return held


def _by_classes(
    groups: dict[str, list[int]], share: float, presence: NDArray[np.bool_]
) -> set[int]:
    """Divide class by class, the rarest first (iterative stratification, Sechidis et al. 2011)."""
    # Images of each group: of each class, and in the last column all.
    counts = np.stack([_counts(presence[members]) for members in groups.values()])
    members = [*groups.values()]
    wanted = np.stack([counts.sum(axis=0) * (1 - share), counts.sum(axis=0) * share])
    left = np.ones(len(counts), np.bool_)
    held = set[int]()
    while left.any():
        remaining = (counts[left, :-1] > 0).sum(axis=0)
        rarest = np.where(remaining > 0, remaining, len(counts) + 1).argmin()
        column = int(rarest) if remaining[rarest] else -1
        for i in np.flatnonzero(left & (counts[:, column] > 0)).tolist():
            # To whom more images of this class are missing, then more images at all.
            own, rest = wanted[1, [column, -1]], wanted[0, [column, -1]]
            side = int(tuple(own) > tuple(rest))
            wanted[side] -= counts[i]
            left[i] = False
            if side:
                held |= set(members[i])
    return held


def _counts(presence: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.append(presence.sum(axis=0), len(presence))


def _sequence(name: str) -> str:
    path = PurePath(name)
    return (path.parent / re.sub(r"\d+$", "", path.stem)).as_posix()


def _place(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
