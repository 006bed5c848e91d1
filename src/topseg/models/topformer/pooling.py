"""Pooling: maps at four strides become one grid of tokens, one for each 64x64 pixels.

The two rules agree where height and width are multiples of 64 and make different models elsewhere,
so a checkpoint keeps the rule it was trained with.

Decision: an average is written as two products with averaging matrices. The plain operators export
too, but such a graph, at another size than it was exported with, fails (adaptive) or averages
wrongly (fixed).

Shapes: B batch, C channels, H W pixels of the input, h w cells of a map
"""

from __future__ import annotations

import torch
from torch import Tensor

from topseg.models.topformer.config import TOKEN_STRIDE, Pool


def pool_tokens(pyramid: list[Tensor], pool: Pool) -> Tensor:
    """Average every map of the pyramid down to the token grid and stack them.

    Args:
        pyramid: Maps at strides 4, 8, 16, 32.
        pool: "adaptive" (official code) spreads ceil(H/64) windows over the whole map; "fixed"
            (PaddleSeg) takes floor(H/64) windows of 64 pixels and drops the strip that remains
            (a map smaller than its window gives one token, the mean of all of it).

    Returns:
        (B, C1 + C2 + C3 + C4, N rows, N columns).
    """
    pooled = []
    for level, x in enumerate(pyramid):
        cells = TOKEN_STRIDE >> (2 + level)  # 16, 8, 4, 2 per window
        h, w = x.shape[2:]
        across = _averaging(w, cells, pool, x)  # (w, N columns)
        down = _averaging(h, cells, pool, x)  # (h, N rows)
        x = ((x @ across).mT @ down).mT  # (B, C, N rows, N columns)
        pooled.append(x)
    return torch.cat(pooled, dim=1)


def _averaging(length: int, cells: int, pool: Pool, like: Tensor) -> Tensor:
    """Matrix (length, windows) whose every column averages the cells that one window touches.

    A window touches a cell when they overlap; its bounds are compared as whole numbers.
    """
    windows = torch.sym_max(length // cells, 1)  # type: ignore[no-untyped-call]
    over, under = cells, 1  # a window is over / under cells long
    if pool == "adaptive":
        windows = (length + cells - 1) // cells
        over, under = length, windows
    window = torch.arange(windows, device=like.device)
    cell = torch.arange(length, device=like.device).unsqueeze(1)
    touched = ((cell + 1) * under > window * over) & (cell * under < (window + 1) * over)
    weight = touched.to(like.dtype)
    return weight / weight.sum(dim=0)
