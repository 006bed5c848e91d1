"""Holdout: a share of a training split, taken out of it for validation.

Which images are held out follows from their names alone, so it is the same on every machine, and an
image that is added moves no other. Frames of one sequence look alike: where names show sequences
(the same text but for the number at the end, or the same folder), whole sequences are held out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import PurePath

from topseg.core.errors import InputError
from topseg.data.layouts.pairs import Pair, Pairs

_LEAST_SEQUENCES = 5
"""With fewer, a share can not be met by whole sequences: single images are held out."""


def hold_out(pairs: Pairs, share: float) -> tuple[Pairs, Pairs]:
    """Divide a split.

    Args:
        pairs: The split.
        share: About how much of it is held out, above 0 and below 1.

    Returns:
        What stays, and what is held out; each has one pair at least.

    Raises:
        InputError: There are fewer than two pairs.
    """
    if len(pairs.pairs) < 2:
        raise InputError(f"data.val: got {share}, but there are fewer than two images to divide")
    groups: dict[str, list[Pair]] = {}
    for pair in pairs.pairs:
        groups.setdefault(_sequence(pair.name), []).append(pair)
    if len(groups) < _LEAST_SEQUENCES:
        groups = {pair.name: [pair] for pair in pairs.pairs}
    wanted, held = max(1, round(share * len(pairs.pairs))), set[Pair]()
    for key in sorted(groups, key=_place):
        fits = len(held) + len(groups[key]) <= max(wanted, 1)
        if fits or not held:
            held |= set(groups[key])
    if len(held) == len(pairs.pairs):
        held.discard(pairs.pairs[0])
    kept = tuple(pair for pair in pairs.pairs if pair not in held)
    out = tuple(pair for pair in pairs.pairs if pair in held)
    return dataclasses.replace(pairs, pairs=kept), Pairs(out, label_map=pairs.label_map)


def _sequence(name: str) -> str:
    path = PurePath(name)
    return (path.parent / re.sub(r"\d+$", "", path.stem)).as_posix()


def _place(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
