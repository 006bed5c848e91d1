"""Focal loss: cross-entropy in which a pixel counts less, the surer the model is of its class.

``-weight (1 - p)^gamma log p`` with p the probability of the true class (Lin et al.,
https://arxiv.org/abs/1708.02002, by softmax); gamma 0 is cross-entropy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Factor, Positive
from topseg.losses.term import ClassWeights, count_labelled, weight_tensor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Focal:
    """Focal loss: pixels count less, the surer the model is of their class."""

    name: Literal["focal"] = "focal"
    weight: Positive = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """As for cross_entropy; the paper's alpha."""
    gamma: Factor = 2.0
    """How fast sure pixels lose their weight; 0 is cross-entropy."""

    additive: ClassVar[bool] = True
    lean: ClassVar[bool] = True

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Count the labelled pixels, each as much as its class weighs."""
        return count_labelled(masks, ignore_index, self.class_weights)

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Add the loss of every labelled pixel."""
        from topseg.losses.bands import add_bands

        weights = weight_tensor(self.class_weights)
        weights = None if weights is None else weights.to(logits.device)

        def band(large: Tensor, mask: Tensor) -> Tensor:
            known = mask != ignore_index  # (R, W)
            truth = mask.long().where(known, 0)
            log_share = large.log_softmax(1).gather(1, truth.unsqueeze(1)).squeeze(1)
            doubt = (1 - log_share.exp()).clamp(min=1e-12)  # 0 has no slope where gamma is below 1
            loss = -(doubt**self.gamma) * log_share * known
            return (loss if weights is None else loss * weights[truth]).sum()

        return add_bands(logits, masks, band)
