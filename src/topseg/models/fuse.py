"""Fuse: fold every batch norm into the convolution before it, for inference.

In evaluation a batch norm is a fixed scale and shift per channel, so it costs nothing once the
convolution has them in its weight and bias (https://arxiv.org/abs/1712.05877, section 3.2).
"""

from __future__ import annotations

import copy
import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode without the batch norms that follow a convolution.

    Logits are equal up to rounding. A pair is found where a ``nn.Sequential`` has one after the
    other; batch norms anywhere else stay.

    Args:
        model: Any network; it stays as it is.
    """
    fused = copy.deepcopy(model).eval()
    for module in list(fused.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for (name, conv), (last, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                delattr(module, last)
    return fused
