"""Cost: parameters and multiply-accumulates of a network, counted without running it."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from topseg.core.geometry import Size
from topseg.models import find_variant


def count_cost(
    name: str, num_classes: int = 150, *, in_channels: int = 3, size: Size = (512, 512)
) -> tuple[int, int]:
    """Count what a network costs for one image.

    Args:
        name: A built-in network or an installed one.
        num_classes: K.
        in_channels: C.
        size: (height, width) of the input, multiples of 32.

    Returns:
        Trainable parameters; multiply-accumulates of the convolutions and of attention's two
        products (half of the usual FLOPs; norms, interpolation and the pooling of tokens, which
        an engine may do as an average, are left out).
    """
    with torch.device("meta"):  # shapes alone
        variant = find_variant(name)
        model = variant.build(num_classes, in_channels, {}).eval()
        image = torch.empty(1, in_channels, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    flops = counter.get_flop_counts()
    total = flops["Global"][torch.ops.aten.convolution]
    if variant.family.attention:
        total += flops[f"{type(model).__name__}.{variant.family.attention}"][torch.ops.aten.bmm]
    return parameters, total // 2
