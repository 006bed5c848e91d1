"""Dice loss: one minus the mean overlap of the classes that are there.

The overlap of a class is ``(2 I + 1) / (P + G + 1)`` over all labelled pixels of a part: I the
probability given to its own pixels, P all probability given to it, G its pixels (Milletari et al.,
https://arxiv.org/abs/1606.04797, without their squares, as Sudre et al.,
https://arxiv.org/abs/1707.03237, and most segmentation frameworks have it).
"""

from __future__ import annotations

import torch
from torch import Tensor

from topseg.losses.bands import add_bands
from topseg.losses.term import count_images


class Dice:
    """Dice loss; each part of a batch is measured for itself."""

    additive = False
    lean = True

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

        def band(large: Tensor, mask: Tensor) -> Tensor:
            known = (mask != self.ignore_index).unsqueeze(1)  # (R, 1, W)
            truth = mask.long().unsqueeze(1).where(known, 0)
            shares = large.softmax(1) * known  # (R, K, W)
            own = torch.zeros_like(shares).scatter(1, truth, known.to(shares.dtype))
            return torch.stack([(shares * own).sum((0, 2)), shares.sum((0, 2)), own.sum((0, 2))])

        hits, given, pixels = add_bands(logits, masks, band)  # (K,) each
        overlap = (2 * hits + 1) / (given + pixels + 1)
        present = pixels > 0
        loss: Tensor = ((1 - overlap) * present).sum() / present.sum().clamp(min=1)
        return len(masks) * loss
