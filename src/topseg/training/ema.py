"""EMA: a moving average of weights and batch-norm statistics, evaluated and kept in their place.

The decay warms up as ``min(decay, (1 + n) / (10 + n))`` after ``n`` updates, so that the average
forgets the initial weights early. Statistics are averaged too: copied from the live model they
would belong to other weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """The average of a model over the steps.

    Attributes:
        model: A copy that holds the averages.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start the average at the model's present values.

        Args:
            model: The model that will be trained.
            decay: Share of the old average in the new one, once warmed up.
        """
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Take in the model's values after a step.

        Args:
            model: The trained model.
            updates: How many updates came before this one.
        """
        decay = min(self.decay, (1 + updates) / (10 + updates))
        averages, values = _floats(self.model), _floats(model)
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in zip(self.model.buffers(), model.buffers(), strict=True):
            if not average.is_floating_point():
                average.copy_(value)


def _floats(model: nn.Module) -> list[Tensor]:
    return [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
