"""Terms: the loss of a recipe, made for the classes of its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from topseg.data.frequency import Rule
from topseg.labels import LabelSet
from topseg.losses import CrossEntropy, Dice, Focal, Loss, Lovasz, Ohem
from topseg.recipe.loss import (
    ClassWeights,
    CrossEntropyConfig,
    DiceConfig,
    FocalConfig,
    LossConfig,
    LovaszConfig,
    OhemConfig,
)

Weigh = Callable[[Rule], Sequence[float]]


def make_loss(config: LossConfig, labels: LabelSet, weigh: Weigh) -> Loss:
    """Build a term of the loss.

    Args:
        config: Its section.
        labels: The classes.
        weigh: Gives the class weights by a rule.

    Raises:
        InputError: Its settings do not fit the classes.
    """

    def numbers(weights: ClassWeights | None) -> Sequence[float] | None:
        return weigh(weights) if isinstance(weights, str) else weights

    K, ignore, weight = labels.num_classes, labels.ignore_index, config.weight
    match config:
        case CrossEntropyConfig():
            return CrossEntropy(
                K,
                ignore,
                class_weights=numbers(config.class_weights),
                weight=weight,
                mean_over=config.mean_over,
                label_smoothing=config.label_smoothing,
            )
        case OhemConfig():
            return Ohem(
                K,
                ignore,
                class_weights=numbers(config.class_weights),
                weight=weight,
                fraction=config.fraction,
                threshold=config.threshold,
                min_kept=config.min_kept,
            )
        case FocalConfig():
            weights = numbers(config.class_weights)
            return Focal(K, ignore, class_weights=weights, weight=weight, gamma=config.gamma)
        case DiceConfig():
            return Dice(ignore, weight=weight)
        case LovaszConfig():
            return Lovasz(ignore, weight=weight)
