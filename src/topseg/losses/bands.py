"""Bands: sums over the upsampled logits that never hold more of them than a few rows.

A band of rows is made by two products with interpolation matrices (half-pixel centres, edges
repeated), used and forgotten; the backward pass makes it once more (activation checkpointing,
https://arxiv.org/abs/1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from topseg.losses.lean import bilinear_matrix, rows_at_once


def add_bands(
    logits: Tensor, masks: Tensor, function: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Add up a function of every band of upsampled logits.

    Args:
        logits: (B, K, h, w) of any float type; computed in float32.
        masks: (B, H, W).
        function: (R, K, W) logits and (R, W) masks of R rows of an image -> any shape, always the
            same.

    Returns:
        The sum of what the function gave, float64; its gradient reaches the logits.
    """
    (H, W), K, device = masks.shape[1:], logits.shape[1], logits.device
    (down, low), (across, _) = (
        bilinear_matrix(n, N) for n, N in zip(logits.shape[2:], (H, W), strict=True)
    )
    down, across = down.to(device), across.to(device)
    rows = rows_at_once(W * K, device)

    def part(near: Tensor, share: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            wide = near.transpose(0, 1).float() @ across.T  # (K, r, w) -> (r, K, W)
            band = (share @ wide.flatten(1)).view(-1, K, W)  # (R, r) of rows -> (R, K, W)
            return function(band, mask).double()

    sums = []
    for image, mask in zip(logits, masks, strict=True):
        for top in range(0, H, rows):
            here = slice(top, top + rows)
            near = slice(low[top], low[min(top + rows, H) - 1] + 2)
            inputs = image[:, near], down[here, near], mask[here]
            sums.append(checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False))
    return torch.stack(sums).sum(0)
