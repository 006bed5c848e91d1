"""Presence: which classes each image of a data set shows.

Finding out reads every mask, so the answer is kept in the cache folder.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.files import read_json, write_json
from topseg.data.cache import cache_file
from topseg.data.classes import mask_reader
from topseg.data.config import DataConfig
from topseg.data.layouts.pairs import Pair, Pairs


def read_presence(config: DataConfig, pairs: Pairs) -> NDArray[np.bool_]:
    """Read which classes the masks of some pairs hold, or remember an earlier reading.

    Args:
        config: The data section.
        pairs: The pairs.

    Returns:
        (N, K): whether an image shows a class. A mask that cannot be used shows none; reading it
        later raises the error.

    Raises:
        InputError: The classes are not known.
    """
    reader = mask_reader(config, pairs)
    labels = reader.labels
    path = cache_file("presence", config, labels, (pair.mask for pair in pairs.pairs))
    found = np.zeros((len(pairs.pairs), labels.num_classes), np.bool_)
    with contextlib.suppress(InputError, TypeError, IndexError, ValueError):
        for row, classes in zip(found, read_json(path), strict=True):
            row[classes] = True
        return found
    found[:] = False

    def classes_of(pair: Pair) -> list[int]:
        try:
            mask = reader(pair.mask)
        except InputError:
            return []
        counts = np.bincount(mask.ravel(), minlength=labels.num_classes)
        return np.flatnonzero(counts[: labels.num_classes]).tolist()

    with ThreadPoolExecutor() as pool:
        listed = [*pool.map(classes_of, pairs.pairs)]
    for row, classes in zip(found, listed, strict=True):
        row[classes] = True
    with contextlib.suppress(InputError):  # without a cache it is read again
        write_json(path, listed)
    return found
