"""Cross-entropy of the logits, upsampled bilinearly (half-pixel centres) to the masks' size.

The mean runs over pixels that have a class, as PaddleSeg's ``CrossEntropyLoss`` does with
``avg_non_ignore`` (or over all, as mmsegmentation 0.x does); a batch without any gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from topseg.lean import upsampled_cross_entropy
from topseg.losses.term import count_labelled, weights_tensor


class CrossEntropy:
    """Cross-entropy, with label smoothing and class weights as torch defines them."""

    additive = True
    lean = True

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        *,
        class_weights: Sequence[float] | None = None,
        weight: float = 1.0,
        mean_over: Literal["labelled", "all"] = "labelled",
        label_smoothing: float = 0.0,
    ) -> None:
        """Set up the term.

        Args:
            num_classes: K.
            ignore_index: Value of mask pixels that do not count.
            class_weights: K factors: a pixel counts as much as its class; None: all equal.
            weight: Factor of the term in the whole loss.
            mean_over: Pixels that ``count`` counts: those with a class, or "all".
            label_smoothing: Share of the target's 1 that is spread over all classes.

        Raises:
            InputError: Not one factor a class.
        """
        self.weight = weight
        self.mean_over = mean_over
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.class_weights = weights_tensor(class_weights, num_classes)

    def count(self, masks: Tensor) -> Tensor:
        """Count the labelled pixels, each as much as its class weighs (or simply all pixels).

        Args:
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar on the masks' device.
        """
        if self.mean_over == "all":
            return torch.tensor(masks.numel(), dtype=torch.float64, device=masks.device)
        return count_labelled(masks, self.ignore_index, self.class_weights)

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Add up the cross-entropy of the labelled pixels.

        Args:
            logits: (B, K, h, w) of any float type; computed in float32.
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar; its gradient reaches the logits.
        """
        total, _ = upsampled_cross_entropy(
            logits,
            masks,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
        return total
