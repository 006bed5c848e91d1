"""Cross-entropy of the logits, upsampled bilinearly (half-pixel centres) to the masks' size.

The mean runs over pixels that have a class, as PaddleSeg's ``CrossEntropyLoss`` does with
``avg_non_ignore`` (or over all, as mmsegmentation 0.x does); a batch without any gives 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Fraction, Positive
from topseg.losses.term import ClassWeights, count_labelled, weight_tensor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossEntropy:
    """Cross-entropy of every labelled pixel, with class weights and label smoothing."""

    name: Literal["cross_entropy"] = "cross_entropy"
    weight: Positive = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """One factor per class; or a rule to count them by: median_frequency, sqrt_median_frequency,
    inverse_log ('topseg weights DATA' prints them); null: all equal."""
    mean_over: Literal["labelled", "all"] = "labelled"
    """Pixels that the mean runs over: those with a class, each as much as it weighs (PaddleSeg), or
    'all' of them, so that sparsely labelled batches count less (official code)."""
    label_smoothing: Fraction = 0.0
    """Share of the true class's 1 that is spread over all classes."""

    additive: ClassVar[bool] = True
    lean: ClassVar[bool] = True

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Count the pixels that the mean runs over."""
        import torch

        if self.mean_over == "all":
            return torch.tensor(masks.numel(), dtype=torch.float64, device=masks.device)
        return count_labelled(masks, ignore_index, self.class_weights)

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Add the cross-entropy of every pixel; smoothing and weights are as torch has them."""
        from topseg.losses.lean import upsampled_cross_entropy

        total, _ = upsampled_cross_entropy(
            logits,
            masks,
            ignore_index=ignore_index,
            class_weights=weight_tensor(self.class_weights),
            label_smoothing=self.label_smoothing,
        )
        return total
