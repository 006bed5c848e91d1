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

    The upsampled logits never exist as a whole: band by band, as two products with interpolation
    matrices, they give their part of the loss and at once of its gradient. (For 150 classes at
    512x512 this takes a seventh of the time of interpolation, loss and their backward pass.)
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
        labelled = masks != self.ignore_index
        if self.class_weights is None:
            return labelled.sum(dtype=torch.float64)
        weights = self.class_weights.to(masks.device, torch.float64)
        return (weights[masks.long().where(labelled, 0)] * labelled).sum()

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
    """Sum and gradient in one go: each band of rows is upsampled, used both ways and forgotten.

    Shapes: h w grid of the logits, H W size of the masks, K classes, R rows of a band, r rows of
    the grid that the band lies on. A row of the grid keeps its classes together, (h, K, w), so that
    one product makes a band and softmax runs along whole rows.
    """

    @staticmethod
    @torch.no_grad()
    def forward(
        ctx: Any, logits: Tensor, masks: Tensor, weights: Tensor | None, ignore_index: int
    ) -> Tensor:
        (H, W), K, device = masks.shape[1:], logits.shape[1], logits.device
        down, across = (
            _bilinear(n, N, device) for n, N in zip(logits.shape[2:], (H, W), strict=True)
        )
        rows = max(1, (_CPU_BAND if device.type == "cpu" else _GPU_BAND) // (W * K))
        total = torch.zeros((), dtype=torch.float64, device=device)
        gradients = torch.empty_like(logits, dtype=torch.float32)
        with torch.autocast(device.type, enabled=False):
            for image, mask, gradient in zip(logits, masks, gradients, strict=True):
                wide = image.transpose(0, 1).float() @ across.T  # (h, K, W)
                outer = torch.zeros_like(wide)  # gradient of wide
                for top in range(0, H, rows):
                    first, last = _touched(top, min(top + rows, H), H, len(wide))
                    band = down[top : top + rows, first:last]  # (R, r)
                    large = (band @ wide[first:last].flatten(1)).view(-1, K, W)  # (R, K, W)
                    truth = mask[top : top + rows].long()  # (R, W)
                    loss, slope = _cross_entropy(large, truth, weights, ignore_index)
                    total += loss
                    outer[first:last] += (band.T @ slope.flatten(1)).view(-1, K, W)
                gradient.copy_((outer @ across).transpose(0, 1))  # (K, h, w)
        ctx.save_for_backward(gradients)
        ctx.dtype = logits.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradients,) = ctx.saved_tensors
        return (gradients * outer).to(ctx.dtype), None, None, None


_CPU_BAND = 2**19  # values held at once: what a core's cache holds
_GPU_BAND = 2**26


def _cross_entropy(
    logits: Tensor, truth: Tensor, weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Give the sum over pixels and its gradient: (R, K, W), (R, W) -> (), (R, K, W)."""
    log_shares = F.log_softmax(logits, dim=1)
    loss = F.nll_loss(log_shares, truth, weights, ignore_index=ignore_index, reduction="sum")
    labelled = truth != ignore_index
    truth = truth.where(labelled, 0)
    factor = labelled.float() if weights is None else weights[truth] * labelled
    slope = log_shares.exp_().mul_(factor.unsqueeze(1))
    slope.scatter_add_(1, truth.unsqueeze(1), -factor.unsqueeze(1))  # softmax - one-hot
    return loss, slope


def _bilinear(n: int, N: int, device: torch.device) -> Tensor:
    """Matrix (N, n) that interpolates n samples to N, half-pixel centres, edges repeated."""
    place = ((torch.arange(N, dtype=torch.float64, device=device) + 0.5) * n / N - 0.5).clamp(0)
    low = place.long().clamp(max=n - 1)
    high = (low + 1).clamp(max=n - 1)
    share = (place - low).clamp(max=1).float().unsqueeze(1)
    one = torch.eye(n, device=device)
    return one[low] * (1 - share) + one[high] * share


def _touched(top: int, bottom: int, N: int, n: int) -> tuple[int, int]:
    """Range of samples, of n, on which the rows from top to bottom, of N, can lie."""
    return max(0, top * n // N - 1), min(n, -(-bottom * n // N) + 1)
