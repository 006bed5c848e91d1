"""Mutations of bytes and of trees, each a function of a random generator."""

import copy
import random
from collections.abc import Sequence
from typing import Any

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**40,
    0.5,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 300,
    "../../x",
    "\0",
    "\ud800",
    "1:1",
    "é",
    [],
    {},
    [[[[[[[[]]]]]]]],
    {"x": {"x": {"x": 1}}},
    [None],
    [1] * 5000,
)
"""What may stand where something else should."""


def mutate(data: bytes, rng: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """Change a few places, most of them near the beginning, where headers are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        span = min(len(changed), rng.choice((32, 256, len(changed) or 1)))
        at = rng.randrange(span) if span else 0
        kind = rng.randrange(8 if words else 7)
        if kind == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and changed:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice((1, 2, 4))
            order: Any = rng.choice(("big", "little"))
            value = rng.choice(EDGES) & (256**width - 1)
            changed[at : at + width] = value.to_bytes(width, order)
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 64)]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.randrange(1, 64)]
        elif kind == 5:
            changed[at:at] = rng.randbytes(rng.randrange(1, 16))
        elif kind == 6 and rng.random() < 0.3:
            del changed[rng.randrange(len(changed) + 1) :]
        elif kind == 7:
            changed[at:at] = rng.choice(words)
    return bytes(changed)


def mutate_tree(tree: Any, rng: random.Random) -> Any:
    """Change one or two nodes of lists and mappings to something strange, or lose or double them.

    Args:
        tree: Is changed itself.
        rng: Where the choices come from.

    Returns:
        The tree.
    """
    for _ in range(rng.choice((1, 1, 2))):
        places = list(_places(tree))
        if not places:
            return copy.deepcopy(rng.choice(STRANGE))
        parent, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.append(parent[key])
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice(("", "x", "\0", "y" * 300))] = parent[key]
        elif kind == 3 and isinstance(parent[key], int | float):
            parent[key] = parent[key] * rng.choice((-1, 0, 2, 1000, 10**12))
        else:
            parent[key] = copy.deepcopy(rng.choice(STRANGE))
    return tree


def _places(tree: Any) -> Any:
    """Yield (container, key) of every node below the root."""
    items = tree.items() if isinstance(tree, dict) else ()
    for key, value in enumerate(tree) if isinstance(tree, list) else items:
        yield tree, key
        yield from _places(value)
