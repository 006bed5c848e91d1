"""Lovász-softmax: a convex surrogate of one minus the mean IoU of the classes that are there.

A pixel's error for a class is how far its probability is from the truth; sorted by it, the pixels
weigh as much as the class's IoU falls when they are wrong too (Berman et al.,
https://arxiv.org/abs/1705.08790, with ``classes='present'`` over all images of a part). Sorting
needs all pixels at once, so this loss holds the upsampled logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses.term import count_images


class Lovasz:
    """Lovász-softmax; each part of a batch is measured for itself."""

    additive = False
    lean = False

    def __init__(self, ignore_index: int, *, weight: float = 1.0) -> None:
        """Set up the term.

        Args:
            ignore_index: Value of mask pixels that do not count.
            weight: Factor of the term in the whole loss.
        """
        self.weight = weight
        self.ignore_index = ignore_index

    def count(self, masks: Tensor) -> Tensor:
        """Count the images, as float64 scalar."""
        return count_images(masks)

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Give the loss of the part, times its images; 0 where nothing is labelled.

        Args:
            logits: (B, K, h, w) of any float type; computed in float32.
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar; its gradient reaches the logits.
        """
        known = masks != self.ignore_index
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
    """Give how much each further wrong pixel adds to the Jaccard loss: (P,) bool -> (P,) float64.

    Args:
        own: Whether a pixel is of the class, the pixels in the order in which they become wrong.
    """
    hits = own.sum() - own.cumsum(0)
    union = own.sum() + (~own).cumsum(0)
    loss = 1 - hits.double() / union
    return torch.diff(loss, prepend=loss.new_zeros(1))
