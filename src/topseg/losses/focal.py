"""Focal loss: cross-entropy in which a pixel counts less, the surer the model is of its class.

``-weight (1 - p)^gamma log p`` with p the probability of the true class (Lin et al.,
https://arxiv.org/abs/1708.02002, by softmax); gamma 0 is cross-entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from topseg.losses.bands import add_bands
from topseg.losses.term import Loss, count_labelled


@dataclass(frozen=True, eq=False, kw_only=True)
class Focal(Loss):
    """Focal loss, its mean over labelled pixels, each as much as its class weighs.

    Attributes:
        class_weights: (K,) the paper's alpha; None: all equal.
        gamma: How fast sure pixels lose their weight.
    """

    class_weights: Tensor | None = None
    gamma: float = 2.0

    additive: ClassVar = True

    def count(self, masks: Tensor) -> Tensor:  # noqa: D102
        return count_labelled(masks, self.ignore_index, self.class_weights)

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:  # noqa: D102
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)

        def band(large: Tensor, mask: Tensor) -> Tensor:
            known = mask != self.ignore_index  # (R, W)
            truth = mask.long().where(known, 0)
            log_share = large.log_softmax(1).gather(1, truth.unsqueeze(1)).squeeze(1)
            loss = -((1 - log_share.exp()) ** self.gamma) * log_share * known
            return (loss if weights is None else loss * weights[truth]).sum()

        return add_bands(logits, masks, band)
