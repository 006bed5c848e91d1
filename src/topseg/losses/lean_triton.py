"""The lean loss on a GPU, in Triton: a program per cell, the pixels between four samples.

The forward pass takes the classes in blocks past a pixel's running maximum and leaves one number a
pixel, the logarithm of its softmax's denominator. The gradient is made from that, block by block:
each cell writes what it gives to its four corners, and these are added afterwards. Nothing is added
atomically, so the result is the same bit by bit from run to run.

Shapes: B images, h w samples, H W pixels, K classes, k classes of a block, P pixels of a tile
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 8  # pixels a side: at stride 8 a cell is one tile


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int,
    weights: Tensor,
    smoothing: float,
    losses: Tensor | None,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Add up the cross-entropy of upsampled logits.

    Args:
        logits: (B, K, h, w) float32.
        target: (B, H, W) int32, contiguous.
        ignore_index: Value of target pixels that do not count.
        weights: (K,) float32.
        smoothing: Share of the target's 1 that is spread over all classes.
        losses: (B, H, W) float32 to write each pixel's -log probability of the truth to.
        rows: For each of H the sample above, ascending, and the share of the one below, float32.
        columns: For each of W the sample to the left, and the share of the one to the right.
        gradient: Whether it is wanted.

    Returns:
        The sum and the number of the pixels that count, float64 scalars, and the gradient
        (B, K, h, w).
    """
    B, K, h, w = logits.shape
    H, W = target.shape[1:]
    device = logits.device
    near = logits.permute(0, 2, 3, 1).contiguous()  # (B, h, w, K)
    (top, down), (left, across) = _cells(rows, h, device), _cells(columns, w, device)
    weight_sum = weights.sum()
    denominators = torch.empty(B, H, W, device=device)
    sums = torch.empty(B * h * w, 2, device=device)
    block = min(32, triton.next_power_of_2(K))
    common = (near, target, top, down, left, across, weights, weight_sum, denominators)
    numbers = (h, w, H, W, K, ignore_index, 1 - smoothing, smoothing / K)
    static = {"smooth": smoothing > 0, "block": block, "tile": _TILE}
    with torch.cuda.device_of(logits):
        _add[(B * h * w,)](*common, sums, losses, *numbers, **static)
        corners = None
        if gradient:
            corners = torch.empty(2, 2, B, h, w, K, device=device)
            _give[(B * h * w, triton.cdiv(K, block))](*common, corners, *numbers, **static)
    total, count = sums.sum(0, dtype=torch.float64)
    return total, count, None if corners is None else _collect(corners)


def _cells(places: tuple[Tensor, Tensor], n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where each cell begins, (n + 1,) int32, and the shares of an axis.

    The pixels past the last sample are in its cell and take nothing from a further one.
    """
    low, share = places
    begins = torch.searchsorted(low, torch.arange(n + 1), out_int32=True)
    return begins.to(device), share.where(low < n - 1, 0).to(device)


def _collect(corners: Tensor) -> Tensor:
    """Add what each cell gives to its corners: (2, 2, B, h, w, K) -> (B, K, h, w)."""
    total = corners[0, 0]
    total[:, 1:] += corners[1, 0][:, :-1]
    total[:, :, 1:] += corners[0, 1][:, :, :-1]
    total[:, 1:, 1:] += corners[1, 1][:, :-1, :-1]
    return total.permute(0, 3, 1, 2)


@triton.jit
def _add(
    logits, target, top, down, left, across, weights, weight_sum, denominators, sums, losses,
    h, w, H, W, K, ignore, keep, spread,
    smooth: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Write a cell's loss and count, and the denominators (and losses) of its pixels."""
    cell = tl.program_id(0).to(tl.int64)
    x, y, image = cell % w, cell // w % h, cell // (w * h)
    right = tl.where(x + 1 < w, K, 0)
    below = tl.where(y + 1 < h, w * K, 0)
    total = 0.0
    count = 0.0
    for row in range(tl.load(top + y), tl.load(top + y + 1), tile):
        for column in range(tl.load(left + x), tl.load(left + x + 1), tile):
            inside, pixel, sy, sx = _pixels(
                row, column, image, y, x, top, left, down, across, H, W, tile
            )
            truth = tl.load(target + pixel, mask=inside, other=ignore)  # (P,)
            most = tl.full((tile * tile,), float("-inf"), tl.float32)
            rest = tl.zeros((tile * tile,), tl.float32)
            own = tl.zeros((tile * tile,), tl.float32)
            every = tl.zeros((tile * tile,), tl.float32)
            for first in range(0, K, block):
                k = first + tl.arange(0, block)
                large = _interpolate(logits + cell * K, k, K, right, below, sy, sx)  # (P, k)
                higher = tl.maximum(most, tl.max(large, 1))
                rest = rest * tl.exp(most - higher) + tl.sum(tl.exp(large - higher[:, None]), 1)
                most = higher
                own += tl.sum(tl.where(k[None, :] == truth[:, None], large, 0.0), 1)
                if smooth:
                    weight = tl.load(weights + k, mask=k < K, other=0.0)
                    every += tl.sum(tl.where(k[None, :] < K, large, 0.0) * weight[None, :], 1)
            denominator = most + tl.log(rest)
            tl.store(denominators + pixel, denominator, mask=inside)
            known = inside & (truth != ignore)
            loss = tl.where(known, denominator - own, 0.0)
            if losses is not None:
                tl.store(losses + pixel, loss, mask=inside)
            weight = _weigh(weights, truth, known, K)
            total += tl.sum(weight * loss * keep)
            count += tl.sum(weight)
            if smooth:
                all_of_it = tl.load(weight_sum) * denominator - every
                total += tl.sum(tl.where(known, all_of_it * spread, 0.0))
    tl.store(sums + 2 * cell, total)
    tl.store(sums + 2 * cell + 1, count)


@triton.jit
def _give(
    logits, target, top, down, left, across, weights, weight_sum, denominators, corners,
    h, w, H, W, K, ignore, keep, spread,
    smooth: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Write the gradient that a cell gives to a block of classes of its four corners."""
    cell = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * block + tl.arange(0, block)
    x, y, image = cell % w, cell // w % h, cell // (w * h)
    right = tl.where(x + 1 < w, K, 0)
    below = tl.where(y + 1 < h, w * K, 0)
    class_weight = tl.load(weights + k, mask=k < K, other=0.0)
    at_00 = tl.zeros((block,), tl.float32)
    at_01 = tl.zeros((block,), tl.float32)
    at_10 = tl.zeros((block,), tl.float32)
    at_11 = tl.zeros((block,), tl.float32)
    for row in range(tl.load(top + y), tl.load(top + y + 1), tile):
        for column in range(tl.load(left + x), tl.load(left + x + 1), tile):
            inside, pixel, sy, sx = _pixels(
                row, column, image, y, x, top, left, down, across, H, W, tile
            )
            truth = tl.load(target + pixel, mask=inside, other=ignore)  # (P,)
            known = inside & (truth != ignore)
            weight = _weigh(weights, truth, known, K) * keep
            factor = weight
            if smooth:
                factor += tl.where(known, tl.load(weight_sum) * spread, 0.0)
            large = _interpolate(logits + cell * K, k, K, right, below, sy, sx)  # (P, k)
            denominator = tl.load(denominators + pixel, mask=inside, other=float("inf"))
            slope = tl.exp(large - denominator[:, None]) * factor[:, None]
            slope -= tl.where(k[None, :] == truth[:, None], weight[:, None], 0.0)
            if smooth:
                slope -= tl.where(known[:, None], spread * class_weight[None, :], 0.0)
            at_00 += tl.sum(slope * ((1 - sy) * (1 - sx))[:, None], 0)
            at_01 += tl.sum(slope * ((1 - sy) * sx)[:, None], 0)
            at_10 += tl.sum(slope * (sy * (1 - sx))[:, None], 0)
            at_11 += tl.sum(slope * (sy * sx)[:, None], 0)
    corner = tl.num_programs(0).to(tl.int64) * K
    place = corners + cell * K + k
    tl.store(place, at_00, mask=k < K)
    tl.store(place + corner, at_01, mask=k < K)
    tl.store(place + 2 * corner, at_10, mask=k < K)
    tl.store(place + 3 * corner, at_11, mask=k < K)


@triton.jit
def _pixels(row, column, image, y, x, top, left, down, across, H, W, tile: tl.constexpr):
    """Return which pixels of a tile are in the cell, their places and shares, (P,) each."""
    number = tl.arange(0, tile * tile)
    Y, X = row + number // tile, column + number % tile
    bottom, right = tl.load(top + y + 1), tl.load(left + x + 1)
    inside = (bottom > Y) & (right > X)
    sy = tl.load(down + Y, mask=inside, other=0.0)
    sx = tl.load(across + X, mask=inside, other=0.0)
    return inside, (image * H + Y) * W + X, sy, sx


@triton.jit
def _interpolate(corner, k, K, right, below, sy, sx):
    """Return the logits of pixels between four corners, (P, k); -inf beyond the last class."""
    real = k < K
    near = corner + k
    above_left = tl.load(near, mask=real, other=0.0)[None, :]
    above_right = tl.load(near + right, mask=real, other=0.0)[None, :]
    below_left = tl.load(near + below, mask=real, other=0.0)[None, :]
    below_right = tl.load(near + below + right, mask=real, other=0.0)[None, :]
    sy, sx = sy[:, None], sx[:, None]
    above = above_left * (1 - sx) + above_right * sx
    under = below_left * (1 - sx) + below_right * sx
    return tl.where(real[None, :], above * (1 - sy) + under * sy, float("-inf"))


@triton.jit
def _weigh(weights, truth, known, K):
    """Return how much pixels count, (P,)."""
    return tl.load(weights + truth, mask=known & (truth >= 0) & (truth < K), other=0.0)
