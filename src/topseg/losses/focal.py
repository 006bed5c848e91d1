"""Focal loss: cross-entropy in which a pixel counts less, the surer the model is of its class.

``-weight (1 - p)^gamma log p`` with p the probability of the true class (Lin et al.,
https://arxiv.org/abs/1708.02002, by softmax); gamma 0 is cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from topseg.losses.bands import add_bands
from topseg.losses.term import count_labelled, weights_tensor


class Focal:
    """Focal loss, its mean over labelled pixels, each as much as its class weighs."""

    additive = True
    lean = True

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        *,
        class_weights: Sequence[float] | None = None,
        weight: float = 1.0,
        gamma: float = 2.0,
    ) -> None:
        """Set up the term.

        Args:
            num_classes: K.
            ignore_index: Value of mask pixels that do not count.
            class_weights: K factors (the paper's alpha); None: all equal.
            weight: Factor of the term in the whole loss.
            gamma: How fast sure pixels lose their weight.

        Raises:
            InputError: Not one factor a class.
        """
        self.weight = weight
        self.gamma = gamma
        self.ignore_index = ignore_index
        self.class_weights = weights_tensor(class_weights, num_classes)

    def count(self, masks: Tensor) -> Tensor:
        """Count the labelled pixels, each as much as its class weighs, as float64 scalar."""
        return count_labelled(masks, self.ignore_index, self.class_weights)

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Add up the loss of the labelled pixels.

        Args:
            logits: (B, K, h, w) of any float type; computed in float32.
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar; its gradient reaches the logits.
        """
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)

        def band(large: Tensor, mask: Tensor) -> Tensor:
            known = mask != self.ignore_index  # (R, W)
            truth = mask.long().where(known, 0)
            log_share = large.log_softmax(1).gather(1, truth.unsqueeze(1)).squeeze(1)
            loss = -((1 - log_share.exp()) ** self.gamma) * log_share * known
            return (loss if weights is None else loss * weights[truth]).sum()

        return add_bands(logits, masks, band)
