"""Cache: the file that keeps what reading every mask of a data set has found.

Its name is a digest of all that the answer depends on, so that a file is either right or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.core.storage import stamp
from topseg.data.config import DataConfig


def cache_file(kind: str, config: DataConfig, labels: LabelSet, masks: Iterable[Path]) -> Path:
    """Return the file that keeps what some masks hold; it need not exist.

    Args:
        kind: What is kept: the name of a folder.
        config: The data section.
        labels: The classes, which the section may leave to a file below the root.
        masks: The masks; one that is missing counts as such.
    """
    from topseg.bundle.downloads import cache_folder  # brings the whole HTTP client with it

    files = []
    for mask in masks:
        with contextlib.suppress(InputError):
            files.append(stamp(mask))
    meaning = [to_tree(config), labels.names, labels.palette]
    digest = hashlib.sha256(json.dumps([meaning, files]).encode()).hexdigest()
    return cache_folder() / kind / f"{digest}.json"
