"""Dice loss: one minus the mean overlap of the classes that are there.

The overlap of a class is ``(2 I + 1) / (P + G + 1)`` over all labelled pixels of a part: I the
probability given to its own pixels, P all probability given to it, G its pixels (Milletari et al.,
https://arxiv.org/abs/1606.04797, without their squares, as Sudre et al.,
https://arxiv.org/abs/1707.03237, and most segmentation frameworks have it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Positive
from topseg.losses.term import count_images

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Dice:
    """Dice loss: one minus the overlap, the mean over classes."""

    name: Literal["dice"] = "dice"
    weight: Positive = 1.0
    """Factor of this term in the sum."""

    additive: ClassVar[bool] = False
    lean: ClassVar[bool] = True

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Count the images: each part of a batch is measured for itself."""
        return count_images(masks)

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Return the part's loss, times its images."""
        import torch

        from topseg.losses.bands import add_bands

        def band(large: Tensor, mask: Tensor) -> Tensor:
            known = (mask != ignore_index).unsqueeze(1)  # (R, 1, W)
            truth = mask.long().unsqueeze(1).where(known, 0)
            shares = large.softmax(1) * known  # (R, K, W)
            own = torch.zeros_like(shares).scatter(1, truth, known.to(shares.dtype))
            return torch.stack([(shares * own).sum((0, 2)), shares.sum((0, 2)), own.sum((0, 2))])

        hits, given, pixels = add_bands(logits, masks, band)  # (K,) each
        overlap = (2 * hits + 1) / (given + pixels + 1)
        present = pixels > 0
        loss: Tensor = ((1 - overlap) * present).sum() / present.sum().clamp(min=1)
        return len(masks) * loss
