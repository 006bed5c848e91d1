"""Usual forms: what people write in a recipe because other projects call it so.

Names of losses are taken for what they mean; a warm-up that is longer than a short run is
shortened; epochs are answered with the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from topseg.core.config import Tree, build
from topseg.core.errors import InputError
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs

LOSS_NAMES = {
    "ce": "cross_entropy",
    "crossentropy": "cross_entropy",
    "cross_entropy_loss": "cross_entropy",
    "crossentropyloss": "cross_entropy",
    "ohem_cross_entropy": "ohem",
    "ohemcrossentropyloss": "ohem",
    "ohem_loss": "ohem",
    "focal_loss": "focal",
    "focalloss": "focal",
    "dice_loss": "dice",
    "diceloss": "dice",
    "lovasz_softmax": "lovasz",
    "lovaszsoftmaxloss": "lovasz",
    "lovasz_loss": "lovasz",
}
"""Other projects' name in lower case -> name here."""


def usual_forms(tree: Tree, where: str, given: Sequence[str]) -> tuple[Tree, list[str]]:
    """Bring a recipe's tree into the schema's own form.

    Args:
        tree: The recipe, its overrides applied.
        where: The file's name, for errors.
        given: Keys of the overrides: what was asked for there is not changed.

    Returns:
        The tree, and a line on each change of a number.

    Raises:
        InputError: It counts in epochs.
    """
    tree, notes = dict(tree), list[str]()
    if isinstance(tree.get("loss"), str | dict):
        tree["loss"] = [tree["loss"]]  # one term alone
    if isinstance(tree.get("loss"), list):
        tree["loss"] = [_named(term) for term in tree["loss"]]
    train, schedule = tree.get("train"), tree.get("schedule")
    if not isinstance(train, dict):
        return tree, notes
    if "epochs" in train:
        raise InputError(f"{where}: train.epochs: {_steps_of(train, tree, where)}")
    if isinstance(schedule, dict) and "schedule.warmup_steps" not in given:
        steps, warmup = train.get("steps"), schedule.get("warmup_steps")
        if isinstance(steps, int) and isinstance(warmup, int) and warmup >= steps > 0:
            one_cycle = schedule.get("name") == "one_cycle"
            short = max(1, int(0.3 * steps)) if one_cycle else int(0.1 * steps)
            tree["schedule"] = {**schedule, "warmup_steps": short}
            notes.append(f"schedule.warmup_steps: {short} instead of {warmup} for {steps} steps")
    return tree, notes


def _named(term: object) -> object:
    """Return a term of the loss with the name that it has here; a name alone is a term."""
    if isinstance(term, str):
        return {"name": LOSS_NAMES.get(term.lower(), term)}
    if isinstance(term, dict) and isinstance(term.get("name"), str):
        return {**term, "name": LOSS_NAMES.get(term["name"].lower(), term["name"])}
    return term


def _steps_of(train: Tree, tree: Tree, where: str) -> str:
    """Answer a number of epochs."""
    epochs, batch = train["epochs"], train.get("batch_size", 16)
    if not isinstance(epochs, int) or not isinstance(batch, int) or epochs < 1 or batch < 1:
        return f"got {epochs!r}; a run is counted in optimizer steps: set train.steps"
    try:
        config = build(DataConfig, tree.get("data") or {}, where)
        images = len(find_pairs(config, "train").pairs)
    except InputError:
        return f"a run is counted in optimizer steps: train.steps = {epochs} x images / {batch}"
    return (
        f"a run is counted in optimizer steps; {epochs} epochs of {images} images by {batch} are "
        f"train.steps={math.ceil(epochs * images / batch)}"
    )
