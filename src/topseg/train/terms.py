"""Terms: the loss of a recipe, made for the classes of its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.frequency import Rule
from topseg.losses import CrossEntropy, Dice, Focal, Loss, Lovasz, Ohem
from topseg.recipe.loss import ClassWeights, LossConfig

Weigh = Callable[[Rule], Sequence[float]]

_TERMS: dict[str, Callable[..., Loss]] = {
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "focal": Focal,
    "lovasz": Lovasz,
    "ohem": Ohem,
}


def make_loss(config: LossConfig, labels: LabelSet, weigh: Weigh) -> Loss:
    """Build a term of the loss; it has the settings of its section, by the same names.

    Args:
        config: Its section.
        labels: The classes.
        weigh: Gives the class weights by a rule.

    Raises:
        InputError: Its settings do not fit the classes.
    """
    settings: dict[str, Any] = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    make = _TERMS[settings.pop("name")]
    wanted: ClassWeights | None = settings.get("class_weights")
    if wanted is not None:
        weights = weigh(wanted) if isinstance(wanted, str) else wanted
        if len(weights) != labels.num_classes:
            raise InputError(
                f"loss.class_weights: got {len(weights)} numbers, expected {labels.num_classes}, "
                "one a class"
            )
        settings["class_weights"] = torch.tensor(weights, dtype=torch.float32)
    return make(labels.ignore_index, **settings)
