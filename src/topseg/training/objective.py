"""Objective: what a step makes smaller, from everything that the recipe asks for.

The terms of the loss on the network's logits, the same terms on those of each auxiliary head, and
the distance from the teacher's logits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from topseg.core.labels import LabelSet
from topseg.data.frequency import Rule, class_weights, count_pixels
from topseg.losses import Loss, count_all, total_loss
from topseg.losses.term import count_images
from topseg.recipe import Recipe
from topseg.training.distributed import World
from topseg.training.teacher import Teacher
from topseg.training.terms import fit_loss


class Objective:
    """The share of a part of the batch in the objective of the whole batch."""

    def __init__(
        self,
        terms: Sequence[Loss],
        ignore_index: int,
        aux_weight: float,
        teacher: Teacher | None,
    ) -> None:
        """Put it together.

        Args:
            terms: T terms of the loss.
            ignore_index: Value of mask pixels that do not count.
            aux_weight: Factor of each auxiliary head's loss.
            teacher: What to learn from beside the labels.
        """
        self.terms, self.ignore_index = terms, ignore_index
        self.aux_weight, self.teacher = aux_weight, teacher

    def count(self, masks: Tensor) -> Tensor:
        """Return the divisors, (T + 1,) float64, to be added over parts and processes."""
        return torch.cat(
            [count_all(self.terms, masks, self.ignore_index), count_images(masks)[None]]
        )

    def share(
        self, logits: Sequence[Tensor], images: Tensor, masks: Tensor, counts: Tensor
    ) -> Tensor:
        """Return the share of a part of the batch.

        Args:
            logits: Of the network, then of the auxiliary heads; (B, K, h, w) each.
            images: (B, H, W, C) uint8.
            masks: (B, H, W).
            counts: Of the whole batch.

        Returns:
            float64 scalar with a gradient.
        """
        own, *others = logits
        labels = masks, self.ignore_index, counts[:-1]
        total = total_loss(self.terms, own, *labels)
        for other in others:
            total = total + self.aux_weight * total_loss(self.terms, other, *labels)
        if self.teacher is not None:
            total = total + self.teacher.distance(own, images) / counts[-1]
        return total


def make_objective(recipe: Recipe, labels: LabelSet, world: World) -> Objective:
    """Build the objective of a recipe.

    Args:
        recipe: What to train.
        labels: The classes of its data.
        world: The processes; the first one counts classes for all, where weights need it.

    Raises:
        InputError: Settings of the loss or a teacher that do not fit the classes.
    """

    @functools.cache
    def weigh(rule: Rule) -> Sequence[float]:
        return world.first(lambda: class_weights(count_pixels(recipe.data), rule))

    terms = [fit_loss(term, labels, weigh) for term in recipe.loss]
    teacher = None
    if recipe.distill.teacher is not None:
        teacher = Teacher(recipe.distill, recipe.model, labels, world.device)
    return Objective(terms, labels.ignore_index, recipe.train.aux_weight, teacher)
