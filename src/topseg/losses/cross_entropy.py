"""Cross-entropy of the logits, upsampled bilinearly (half-pixel centres) to the masks' size.

The mean runs over pixels that have a class, as PaddleSeg's ``CrossEntropyLoss`` does with
``avg_non_ignore`` (or over all, as mmsegmentation 0.x does); a batch without any gives 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from topseg.losses.lean import upsampled_cross_entropy
from topseg.losses.term import Loss, count_labelled


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossEntropy(Loss):
    """Cross-entropy, with label smoothing and class weights as torch defines them.

    Attributes:
        class_weights: (K,) a pixel counts as much as its class; None: all equal.
        mean_over: Pixels that ``count`` counts: those with a class, each as much as its class
            weighs, or simply "all".
        label_smoothing: Share of the target's 1 that is spread over all classes.
    """

    class_weights: Tensor | None = None
    mean_over: Literal["labelled", "all"] = "labelled"
    label_smoothing: float = 0.0

    additive: ClassVar = True

    def count(self, masks: Tensor) -> Tensor:  # noqa: D102
        if self.mean_over == "all":
            return torch.tensor(masks.numel(), dtype=torch.float64, device=masks.device)
        return count_labelled(masks, self.ignore_index, self.class_weights)

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:  # noqa: D102
        total, _ = upsampled_cross_entropy(
            logits,
            masks,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
        return total
