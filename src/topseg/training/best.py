"""Best: the weights of the best evaluations, each a bundle.

``best/`` has those of the highest mIoU. Where a recipe keeps several, ``top/step_00001000/`` has
them all, and their average is often better than any (``topseg average``).
"""

from __future__ import annotations

import math
from pathlib import Path

from topseg.bundle.bundle import write_metadata
from topseg.bundle.metadata import WEIGHTS, Metadata
from topseg.training.checkpoint import Tensors, discard, new_folder, write_tensors

Entry = tuple[float, int]
"""(mIoU, step)"""


def ranked(top: list[Entry], miou: float, step: int, keep: int) -> list[Entry]:
    """Return the best evaluations with a new one among them, the best first.

    Of equals the earlier is the better one; a mIoU that is no number is none.
    """
    entries = [*top, (miou, step)] if math.isfinite(miou) else top
    return sorted(entries, key=lambda entry: (-entry[0], entry[1]))[:keep]


def keep_weights(
    run: Path, top: list[Entry], step: int, weights: Tensors, metadata: Metadata, keep: int
) -> None:
    """Write the weights of an evaluation if it is among the best; remove those that no longer are.

    Args:
        run: The run folder.
        top: The best evaluations, from :func:`ranked`.
        step: Of this evaluation.
        weights: What was evaluated.
        metadata: Of the weights, with their scores.
        keep: How many the recipe keeps.
    """
    folders = [run / "best"] if top and top[0][1] == step else []
    if keep > 1 and any(step == kept for _, kept in top):
        folders.append(_folder(run, step))
    for folder in folders:
        with new_folder(folder) as new:
            write_tensors(new / WEIGHTS, weights)
            write_metadata(new, metadata)
    if keep > 1:
        kept = {_folder(run, step) for _, step in top}
        for folder in set((run / "top").glob("step_*")) - kept:
            discard(folder)


def _folder(run: Path, step: int) -> Path:
    return run / "top" / f"step_{step:08d}"
