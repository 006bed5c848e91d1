"""Term: sums over a part of the batch and counts of it, so that a batch can be cut anywhere.

A term never divides. The trainer adds the counts of the whole batch (all its parts, all processes)
before the forward pass and divides the sums by them. Where a term is a sum over pixels, the
gradient is that of the whole batch however it was cut. Where it is not (OHEM ranks pixels, Dice and
Lovasz are ratios), a part is a batch of its own, and its loss counts as much as it has images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Loss(ABC):
    """One term of the loss.

    Attributes:
        ignore_index: Value of mask pixels that do not count.
        weight: Factor of the term in the whole loss.
        additive: Whether the sums of a batch's parts add up to the batch's own.
        lean: Whether it needs no (B, K, H, W) tensor.
    """

    ignore_index: int
    _: KW_ONLY
    weight: float = 1.0

    additive: ClassVar[bool]
    lean: ClassVar[bool] = True

    def count(self, masks: Tensor) -> Tensor:
        """Give what the sum is divided by, from the labels alone: the number of images.

        Args:
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar on the masks' device.
        """
        return count_images(masks)

    @abstractmethod
    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Give the sum over the part; 0 where nothing is labelled.

        Args:
            logits: (B, K, h, w) of any float type; computed in float32.
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar; its gradient reaches the logits.
        """


def count_all(terms: Sequence[Loss], masks: Tensor) -> Tensor:
    """Give the counts of all terms, (T,) float64, ready to be added over processes."""
    return torch.stack([term.count(masks) for term in terms])


def total_loss(terms: Sequence[Loss], logits: Tensor, masks: Tensor, counts: Tensor) -> Tensor:
    """Give the share of a part of the batch in the loss of the whole batch.

    Args:
        terms: T terms.
        logits: (B, K, h, w) of the part.
        masks: (B, H, W) of the part.
        counts: (T,) of the whole batch, from :func:`count_all`.

    Returns:
        float64 scalar; the shares of all parts add up to the batch's loss.
    """
    divisors = torch.where(counts > 0, counts, 1.0)  # nothing labelled: 0 / 1, not 0 / 0
    shares = [
        term.weight * term.sum(logits, masks) / divisor
        for term, divisor in zip(terms, divisors, strict=True)
    ]
    return torch.stack(shares).sum()


def count_labelled(masks: Tensor, ignore_index: int, class_weights: Tensor | None) -> Tensor:
    """Count the labelled pixels, each as much as its class weighs, as a float64 scalar."""
    labelled = masks != ignore_index
    if class_weights is None:
        return labelled.sum(dtype=torch.float64)
    weights = class_weights.to(masks.device, torch.float64)
    return (weights[masks.long().where(labelled, 0)] * labelled).sum()


def count_images(masks: Tensor) -> Tensor:
    """Count the images, as a float64 scalar."""
    return torch.tensor(len(masks), dtype=torch.float64, device=masks.device)
