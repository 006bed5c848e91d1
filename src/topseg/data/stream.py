"""Stream: which samples make a batch, as a pure function of the seed and the step.

Training on is nothing but asking for the next step, so a resumed run sees the same images with the
same random changes, whatever the number of loader processes. Epochs are permutations laid end to
end; a batch may span two (or many, where it is larger than the data set).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError

T = TypeVar("T")
Draw = tuple[int, int]
"""(index of a sample, seed of its random changes)"""


def batch_at(seed: int, step: int, batch_size: int, n: int) -> list[Draw]:
    """Return the batch of one step.

    Args:
        seed: The run's seed.
        step: Optimizer step, from 0.
        batch_size: Samples of the global batch.
        n: Samples of the data set.
    """
    return [draw_at(seed, step * batch_size + i, n) for i in range(batch_size)]


def draw_at(seed: int, position: int, n: int) -> Draw:
    """Return one draw of the endless stream of samples."""
    epoch, place = divmod(position, n)
    return int(_permutation(seed, epoch, n)[place]), _hash(seed, position)


def share(batch: Sequence[T], rank: int, ranks: int, part: int = 0, parts: int = 1) -> Sequence[T]:
    """Return what one process works on in one of the parts that a step is accumulated over.

    All parts and ranks together are the batch, each sample once.

    Raises:
        InputError: The batch cannot be cut into equal shares.
    """
    size, rest = divmod(len(batch), ranks * parts)
    if rest or not size:
        raise InputError(
            f"train.batch_size: got {len(batch)}, expected a multiple of {ranks * parts} "
            f"({ranks} processes x {parts} accumulated parts)"
        )
    start = (part * ranks + rank) * size
    return batch[start : start + size]


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(n)


def _hash(seed: int, position: int) -> int:
    words = np.random.SeedSequence([seed, position, 1]).generate_state(1, np.uint64)
    return int(words[0])
