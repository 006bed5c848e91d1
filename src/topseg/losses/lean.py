"""Lean loss: cross-entropy of upsampled logits, without the (B, K, H, W) tensor and exact.

Interpolation, softmax, loss and gradient of a few pixels at a time happen in the cache, in the
forward pass; the backward pass only scales. On the CPU the compiled extension does it
(``native/topseg/loss.hpp``), on a GPU Triton (``lean_triton.py``), elsewhere or without them torch,
band by band of rows. The options are those of ``torch.nn.functional.cross_entropy``; mining hard
pixels is that of Shrivastava et al. (OHEM, https://arxiv.org/abs/1604.03540) by threshold, as
segmentation frameworks do it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from topseg.core.errors import InputError, did_you_mean

try:
    from topseg import _native
except ImportError:  # there was no compiler at installation
    _native = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Mining:
    """Which pixels are hard enough to count.

    Attributes:
        threshold: Pixels whose true class has a smaller probability count,
        min_kept: and at least this many in all, the hardest (of equals all).
    """

    threshold: float = 0.7
    min_kept: int = 100_000


def implementations(device: str = "cpu") -> tuple[str, ...]:
    """Name the implementations for a device, the one in use first.

    Returns:
        Some of "avx2", "neon" and "portable" (compiled, on the CPU) or "triton" (on a GPU, where
        it is installed and agrees with torch on a small example) and always "torch".
    """
    if device == "cuda":
        return ("triton", "torch") if find_spec("triton") and _triton_agrees(device) else ("torch",)
    return (*(_native.paths() if _native and device == "cpu" else ()), "torch")


def upsampled_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    mining: Mining | None = None,
    implementation: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Add up the cross-entropy of bilinearly upsampled logits (``align_corners=False``).

    The sum divided by the count is torch's mean, label smoothing and class weights included. It is
    computed in float32 and added up in float64. The compiled gradient is the same, bit by bit,
    for any number of threads. There is no second derivative.

    Args:
        logits: (B, K, h, w) of any float type, contiguous or channels-last.
        target: (B, H, W) class indices of any integer type.
        ignore_index: Value of target pixels that do not count.
        class_weights: (K,) a pixel counts as much as its class; None: all 1.
        label_smoothing: Share of the target's 1 that is spread over all classes.
        mining: Which pixels are hard enough to count; None: all. It takes a forward pass more.
        implementation: One of ``implementations()``; the default is the first.

    Returns:
        The sum over the pixels that count, float64 scalar with a gradient, and their number, each
        as much as its class weighs, float64 scalar.

    Raises:
        InputError: Shapes do not fit, or (found on the CPU alone) a target is not a class.
    """
    device = logits.device.type
    choices = implementations(device)
    implementation = implementation or choices[0]
    if implementation not in choices:
        raise InputError(
            f"implementation: got '{implementation}', expected one of {', '.join(choices)}"
            f"{did_you_mean(implementation, choices)}"
        )
    if logits.ndim != 4 or target.ndim != 3 or len(logits) != len(target) or not target.numel():
        raise InputError(
            f"logits and target: got {tuple(logits.shape)} and {tuple(target.shape)}, "
            "expected (B, K, h, w) and (B, H, W)"
        )
    if class_weights is not None:
        if class_weights.shape != logits.shape[1:2]:
            raise InputError(
                f"class_weights: got {tuple(class_weights.shape)}, expected ({logits.shape[1]},)"
            )
        class_weights = class_weights.detach().to(logits.device, torch.float32).contiguous()
    target = target.to(torch.int32).contiguous()
    job = _Job(target, ignore_index, class_weights, label_smoothing, implementation)
    if mining is not None:
        job = replace(job, target=_hard(job, logits, mining))
    total, count = _Sum.apply(logits, job)  # type: ignore[no-untyped-call]
    return total, count


@dataclass(frozen=True)
class _Job:
    target: Tensor
    """(B, H, W) int32, contiguous."""
    ignore_index: int
    weights: Tensor | None
    """(K,) float32."""
    smoothing: float
    implementation: str


class _Sum(torch.autograd.Function):
    """Computes the gradient in the forward pass, where the values are at hand."""

    @staticmethod
    @torch.no_grad()
    def forward(ctx: Any, logits: Tensor, job: _Job) -> tuple[Tensor, Tensor]:
        dense = _dense(logits)
        gradient = torch.empty_like(dense) if ctx.needs_input_grad[0] else None
        total, count = _run(job, dense, gradient, None)
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(count)
        return total, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * outer).to(ctx.dtype), None


@torch.no_grad()
def _hard(job: _Job, logits: Tensor, mining: Mining) -> Tensor:
    """Return the target with all but the hard pixels ignored."""
    losses = torch.empty(job.target.shape, device=logits.device)  # -log probability of the truth
    _run(job, _dense(logits), None, losses)
    labelled = job.target != job.ignore_index
    # By what is not easy: a loss that is not a number counts, and the sum tells of it.
    hard = ~(losses <= -math.log(mining.threshold))
    least = min(mining.min_kept, int(labelled.sum()))
    if least > (hard & labelled).sum():
        hard = ~(losses < losses[labelled].topk(least).values[-1])
    return job.target.where(hard & labelled, job.ignore_index)


def _dense(logits: Tensor) -> Tensor:
    logits = logits.float()
    known = logits.is_contiguous() or logits.is_contiguous(memory_format=torch.channels_last)
    return logits if known else logits.contiguous()


def _run(
    job: _Job, logits: Tensor, gradient: Tensor | None, losses: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the sum and the count; write the gradient like logits and the losses (B, H, W)."""
    if job.implementation == "torch":
        return _by_bands(job, logits, gradient, losses)
    if job.implementation == "triton":
        return _by_triton(job, logits, gradient, losses)
    channels_last = not logits.is_contiguous()

    def array(tensor: Tensor | None, last: bool = False) -> Any:
        if tensor is None:
            return None
        return (tensor.permute(0, 2, 3, 1) if last else tensor).numpy()

    total, count, valid = _native.cross_entropy(
        array(logits, channels_last),
        array(gradient, channels_last),
        (logits.shape[0], logits.shape[1], logits.shape[2], logits.shape[3]),
        channels_last,
        array(job.target),
        (job.target.shape[1], job.target.shape[2]),
        job.ignore_index,
        array(job.weights),
        job.smoothing,
        array(losses),
        torch.get_num_threads(),
        job.implementation,
    )
    if not valid:
        raise _not_a_class(job, logits.shape[1])
    return torch.tensor(total, dtype=torch.float64), torch.tensor(count, dtype=torch.float64)


@cache
def _triton_agrees(device: str) -> bool:
    """Try the kernels once: Triton needs a C compiler, and a GPU that it knows."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 19, 3, 5, generator=random).to(device)
    target = torch.randint(0, 19, (2, 24, 40), generator=random, dtype=torch.int32).to(device)
    job = _Job(target, 255, None, 0.1, "torch")
    gradient, expected = torch.empty_like(logits), torch.empty_like(logits)
    try:
        total, _ = _by_triton(job, logits, gradient, None)
        expected_total, _ = _by_bands(job, logits, expected, None)
        torch.testing.assert_close(total, expected_total, rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    except Exception as error:  # of a compiler, a driver or a kernel; it is named
        reason = str(error).strip().splitlines()[:1]
        logging.getLogger("topseg").warning(
            "the lean loss runs in torch, not in Triton: %s", reason[0] if reason else repr(error)
        )
        return False
    return True


def _by_triton(
    job: _Job, logits: Tensor, gradient: Tensor | None, losses: Tensor | None
) -> tuple[Tensor, Tensor]:
    from topseg.losses.lean_triton import cross_entropy

    weights = torch.ones(logits.shape[1], device=logits.device)
    total, count, slope = cross_entropy(
        logits,
        job.target,
        ignore_index=job.ignore_index,
        weights=weights if job.weights is None else job.weights,
        smoothing=job.smoothing,
        losses=losses,
        rows=_places(logits.shape[2], job.target.shape[1]),
        columns=_places(logits.shape[3], job.target.shape[2]),
        gradient=gradient is not None,
    )
    if gradient is not None and slope is not None:
        gradient.copy_(slope)
    return total, count


_CPU_BAND = 2**19  # values held at once: what a core's cache holds
_GPU_BAND = 2**26


def _by_bands(
    job: _Job, logits: Tensor, gradient: Tensor | None, losses: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Take a band of rows at a time, made and taken back by products with interpolation matrices.

    Shapes: R rows of a band, r rows of samples that it lies between. A row keeps its classes
    together, (h, K, W), so that one product makes a band and softmax runs along whole rows.
    """
    K, (H, W), device = logits.shape[1], job.target.shape[1:], logits.device
    down, low = bilinear_matrix(logits.shape[2], H)
    across, _ = bilinear_matrix(logits.shape[3], W)
    down, across = down.to(device), across.to(device)
    weights = torch.ones(K, device=device) if job.weights is None else job.weights
    spread = job.smoothing / K  # of the target's 1, to every class
    total, count = torch.zeros(2, dtype=torch.float64, device=device)
    labelled = job.target != job.ignore_index
    if device.type == "cpu" and (((job.target < 0) | (job.target >= K)) & labelled).any():
        raise _not_a_class(job, K)
    rows = rows_at_once(W * K, device)
    with torch.autocast(device.type, enabled=False):
        for i, image in enumerate(logits):
            wide = image.transpose(0, 1) @ across.T  # (h, K, W)
            outer = torch.zeros_like(wide)  # gradient of wide
            for top in range(0, H, rows):
                # The band's rows of pixels, and the rows of samples that they lie between.
                here = slice(top, top + rows)
                near = slice(low[top], low[min(top + rows, H) - 1] + 2)
                # Interpolate the band, and take the logarithm of its probabilities.
                band = down[here, near]  # (R, r)
                shares = (band @ wide[near].flatten(1)).view(-1, K, W).log_softmax(1)  # (R, K, W)
                # The loss of the true class at each pixel that has one.
                known = labelled[i, here]  # (R, W)
                truth = job.target[i, here].long().where(known, 0).unsqueeze(1)  # (R, 1, W)
                loss = -shares.gather(1, truth).squeeze(1) * known
                weight = weights[truth.squeeze(1)] * known
                if losses is not None:
                    losses[i, here] = loss
                total += (weight * loss).sum(dtype=torch.float64) * (1 - job.smoothing)
                count += weight.sum(dtype=torch.float64)
                # Smoothing: its share of the loss of every class.
                if spread:
                    every = (shares * weights[:, None]).sum(1) * known
                    total -= every.sum(dtype=torch.float64) * spread
                if gradient is None:
                    continue
                # The gradient: probabilities minus the target, each pixel by its weight.
                weight = weight * (1 - job.smoothing)
                factor = weight + spread * weights.sum() * known
                slope = shares.exp_().mul_(factor.unsqueeze(1))
                slope.scatter_add_(1, truth, -weight.unsqueeze(1))
                if spread:
                    slope -= spread * weights[:, None] * known.unsqueeze(1)
                # Back to the rows of samples; the columns follow once per image.
                outer[near] += (band.T @ slope.flatten(1)).view(-1, K, W)
            if gradient is not None:
                gradient[i] = (outer @ across).transpose(0, 1)  # (K, h, w)
    return total, count


def rows_at_once(values: int, device: torch.device) -> int:
    """Return how many rows of so many values make a band."""
    return max(1, (_CPU_BAND if device.type == "cpu" else _GPU_BAND) // values)


def bilinear_matrix(n: int, N: int) -> tuple[Tensor, list[int]]:
    """Return the matrix (N, n) that interpolates n samples to N, and the lower sample of each."""
    low, share = _places(n, N)
    share, one = share.unsqueeze(1), torch.eye(n)
    return one[low] * (1 - share) + one[(low + 1).clamp(max=n - 1)] * share, low.tolist()


def _places(n: int, N: int) -> tuple[Tensor, Tensor]:
    """Return the lower of the two samples around each of N pixels, and the upper one's share.

    Returns:
        (N,) int64 and (N,) float32.
    """
    place = ((torch.arange(N, dtype=torch.float64) + 0.5) * n / N - 0.5).clamp(0)
    low = place.long().clamp(max=n - 1)
    return low, (place - low).clamp(max=1).float()


def _not_a_class(job: _Job, classes: int) -> InputError:
    wrong = (job.target < 0) | (job.target >= classes)
    found = job.target[wrong & (job.target != job.ignore_index)][0]
    return InputError(
        f"target: got {found}, expected a class from 0 to {classes - 1} or {job.ignore_index} "
        "(ignored)"
    )
