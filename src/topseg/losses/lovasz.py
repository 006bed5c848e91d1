"""Lovász-softmax: a convex surrogate of one minus the mean IoU of the classes that are there.

A pixel's error for a class is how far its probability is from the truth; sorted by it, the pixels
weigh as much as the class's IoU falls when they are wrong too (Berman et al.,
https://arxiv.org/abs/1705.08790, with ``classes='present'`` over all images of a part). Sorting
needs all pixels at once, so this loss holds the upsampled logits.
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
class Lovasz:
    """Lovász-softmax: a convex surrogate of one minus the mean IoU."""

    name: Literal["lovasz"] = "lovasz"
    weight: Positive = 1.0
    """Factor of this term in the sum."""

    additive: ClassVar[bool] = False
    lean: ClassVar[bool] = False

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Count the images: each part of a batch is measured for itself."""
        return count_images(masks)

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Return the part's loss, times its images."""
        import torch
        from torch.nn import functional as F

        known = masks != ignore_index
        truth = masks[known].long()  # (P,)
        with torch.autocast(logits.device.type, enabled=False):
            large = F.interpolate(logits.float(), masks.shape[1:], mode="bilinear")
            shares = large.softmax(1).movedim(1, 0)[:, known]  # (K, P)
            total = shares.sum(dtype=torch.float64) * 0
            classes = torch.unique(truth)
            for index in classes:
                own = truth == index
                errors, order = (own.float() - shares[index]).abs().sort(descending=True)
                total = total + errors.double() @ _steps(own[order])
        return len(masks) * total / max(len(classes), 1)


def _steps(own: Tensor) -> Tensor:
    """Return how much each further wrong pixel adds to the Jaccard loss: (P,) -> (P,) float64.

    Args:
        own: Whether a pixel is of the class, the pixels in the order in which they become wrong.
    """
    import torch

    hits = own.sum() - own.cumsum(0)
    union = own.sum() + (~own).cumsum(0)
    loss = 1 - hits.double() / union
    return torch.diff(loss, prepend=loss.new_zeros(1))
