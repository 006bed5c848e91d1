"""Terms: the loss of a recipe, made for the classes of its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.frequency import Rule
from topseg.losses import Loss

Weigh = Callable[[Rule], Sequence[float]]


def fit_loss(term: Loss, labels: LabelSet, weigh: Weigh) -> Loss:
    """Put class weights in the place of the rule that counts them, and check their number.

    Args:
        term: A term of the loss, as the recipe has it.
        labels: The classes.
        weigh: Returns the class weights by a rule.

    Raises:
        InputError: Its settings do not fit the classes.
    """
    weights = getattr(term, "class_weights", None)
    if weights is None:
        return term
    if isinstance(weights, str):
        section: Any = term
        weights = tuple(weigh(weights))  # type: ignore[arg-type]
        term = dataclasses.replace(section, class_weights=weights)
    if len(weights) != labels.num_classes:
        raise InputError(
            f"loss.class_weights: got {len(weights)} numbers, expected {labels.num_classes}, "
            "one per class"
        )
    return term
