"""Preflight: masks are read before the first step, so that a bad one does not end a run late.

Every mask of the validation split is read, and as many of the training split as fit into a minute.
What was read before and has not changed since is not read again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.files import read_json, write_json
from topseg.data.cache import cache_file
from topseg.data.config import DataConfig
from topseg.data.dataset import Dataset
from topseg.data.remedies import black_and_white

_BLOCK = 64


def read_masks_first(
    config: DataConfig,
    train: Dataset,
    val: Dataset,
    *,
    seconds: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Read the masks that a run will read.

    Args:
        config: The data section.
        train: The training split, of which a sample is read where time is short.
        val: The validation split, read whole.
        seconds: How long the training split may take.
        clock: Seconds from any start.

    Returns:
        How many masks were read; 0 where all were read before and are unchanged.

    Raises:
        InputError: A mask cannot be used, or one class alone is left of masks of 0 and 255.
    """
    masks = [pair.mask for split in (val, train) for pair in split.pairs]
    known = cache_file("masks", config, train.labels, masks)
    with contextlib.suppress(InputError):
        read_json(known)
        return 0
    # The training masks in random order: what is read before the time is up is a sample.
    order = np.random.default_rng(0).permutation(len(train))
    jobs = masks[: len(val)] + [train.pairs[i].mask for i in order]
    seen, ignored, end, done = np.zeros(train.labels.num_classes, np.int64), 0, 0.0, 0
    with ThreadPoolExecutor() as pool:
        while done < len(jobs):
            if done >= len(val):
                end = end or clock() + seconds
                if clock() > end:
                    break
            size = _BLOCK if done >= len(val) else min(_BLOCK, len(val) - done)
            for counts in pool.map(lambda path: _count(train, path), jobs[done : done + size]):
                seen += counts[: len(seen)]
                ignored += int(counts[-1])
            done = min(done + size, len(jobs))
    if ignored and (error := black_and_white(config, train.labels.names, seen)) is not None:
        raise error
    if done == len(jobs):
        with contextlib.suppress(InputError):  # without a cache they are read again
            write_json(known, {"masks": done})
    return done


def _count(dataset: Dataset, path: Path) -> NDArray[np.int64]:
    """Count the pixels of each class in a mask; the last number is of those without one."""
    labels = dataset.labels
    counts = np.bincount(dataset.read_mask(path).ravel(), minlength=labels.ignore_index + 1)
    return np.append(counts[: labels.num_classes], counts[labels.ignore_index])
