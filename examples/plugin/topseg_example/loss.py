"""Brier score: the squared distance of the class probabilities from the truth.

Brier, Verification of forecasts expressed in terms of probability, 1950.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Positive
from topseg.losses.term import count_labelled

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Brier:
    """Brier score: squared distance of the probabilities from the truth."""

    name: str = "brier"
    weight: Positive = 1.0
    """Factor of this term in the sum."""

    additive: ClassVar[bool] = True
    lean: ClassVar[bool] = True

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Count the labelled pixels."""
        return count_labelled(masks, ignore_index)

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Add the score of every labelled pixel, band by band."""
        from torch.nn import functional as F

        from topseg.losses.bands import add_bands

        def band(large: Tensor, mask: Tensor) -> Tensor:
            known = mask != ignore_index  # (R, W)
            truth = F.one_hot(mask.long().where(known, 0), large.shape[1])  # (R, W, K)
            distance = (large.softmax(1) - truth.movedim(2, 1)).square().sum(1)
            return (distance * known).sum()

        return add_bands(logits, masks, band)
