"""Losses: sums over labelled pixels and counts of them, so that a batch can be cut anywhere.

A term never divides. The trainer adds the counts of the whole batch (all its parts, all processes)
before the forward pass and divides the sums by them, so the gradient is that of the whole batch
however it was cut. The mean runs over pixels that have a class, as PaddleSeg's
``CrossEntropyLoss`` does with ``avg_non_ignore`` (or over all, as mmsegmentation 0.x does); a batch
without any gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from topseg.errors import InputError


class Loss(Protocol):
    """One term of the loss."""

    weight: float
    """Factor of the term in the whole loss."""

    def count(self, masks: Tensor) -> Tensor:
        """Give what the sum is divided by, from the labels alone, as a float64 scalar."""
        ...

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Give the sum over the labelled pixels as a float64 scalar with a gradient."""
        ...


class CrossEntropy:
    """Cross-entropy of the logits, upsampled bilinearly (half-pixel centres) to the masks' size.

    Only one image at a time is held at full size: its gradient is computed with its loss.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        *,
        class_weights: Sequence[float] | None = None,
        weight: float = 1.0,
        mean_over: Literal["labelled", "all"] = "labelled",
    ) -> None:
        """Set up the term.

        Args:
            num_classes: K.
            ignore_index: Value of mask pixels that do not count.
            class_weights: K factors: a pixel counts as much as its class; None: all equal.
            weight: Factor of the term in the whole loss.
            mean_over: Pixels that ``count`` counts: those with a class, or "all".

        Raises:
            InputError: Not one factor a class.
        """
        if class_weights is not None and len(class_weights) != num_classes:
            raise InputError(
                f"loss.class_weights: got {len(class_weights)} numbers, expected {num_classes}, "
                "one a class"
            )
        self.weight = weight
        self.mean_over = mean_over
        self.ignore_index = ignore_index
        self.class_weights = None if class_weights is None else torch.tensor(class_weights)

    def count(self, masks: Tensor) -> Tensor:
        """Count the labelled pixels, each as much as its class weighs (or simply all pixels).

        Args:
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar on the masks' device.
        """
        if self.mean_over == "all":
            return torch.tensor(masks.numel(), dtype=torch.float64, device=masks.device)
        labelled = masks[masks != self.ignore_index]
        if self.class_weights is None:
            return torch.tensor(labelled.numel(), dtype=torch.float64, device=masks.device)
        weights = self.class_weights.to(masks.device, torch.float64)
        return weights[labelled.long()].sum()

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Add up the cross-entropy of the labelled pixels.

        Args:
            logits: (B, K, h, w) of any float type; computed in float32.
            masks: (B, H, W) class indices of any integer type.

        Returns:
            float64 scalar; its gradient reaches the logits.
        """
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        apply = _CrossEntropySum.apply
        total: Tensor = apply(logits, masks, weights, self.ignore_index)  # type: ignore[no-untyped-call]
        return total


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


class _CrossEntropySum(torch.autograd.Function):
    """Sum and gradient in one go, image by image."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, masks: Tensor, weights: Tensor | None, ignore_index: int
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        total = torch.zeros((), dtype=torch.float64, device=logits.device)
        gradients = torch.empty_like(logits, dtype=torch.float32) if wanted else None
        with torch.autocast(logits.device.type, enabled=False), torch.set_grad_enabled(wanted):
            for i in range(len(logits)):
                small = logits[i : i + 1].detach().float().requires_grad_(wanted)  # (1, K, h, w)
                large = F.interpolate(small, masks.shape[1:], mode="bilinear")  # (1, K, H, W)
                mask = masks[i : i + 1].long()
                loss = F.cross_entropy(
                    large, mask, weights, ignore_index=ignore_index, reduction="sum"
                )
                total += loss.detach()
                if gradients is not None:
                    gradients[i] = torch.autograd.grad(loss, small)[0][0]
        ctx.save_for_backward(gradients)
        ctx.dtype = logits.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradients,) = ctx.saved_tensors
        return (gradients * outer).to(ctx.dtype), None, None, None
