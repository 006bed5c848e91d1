"""Fuse: fold every batch norm into the convolution before it, for inference.

In evaluation a batch norm is a fixed scale and shift a channel, so it costs nothing once the
convolution has them in its weight and bias (https://arxiv.org/abs/1712.05877, section 3.2).
"""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from topseg.models.topformer import ConvBN, TopFormer


def fuse(model: TopFormer) -> TopFormer:
    """Give a copy without batch norms, in evaluation mode; its logits are equal up to rounding.

    Args:
        model: Any TopFormer; it stays as it is.
    """
    fused = copy.deepcopy(model).eval()
    for module in fused.modules():
        if isinstance(module, ConvBN):
            (name, conv), (_, norm) = module.named_children()
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            setattr(module, name, fuse_conv_bn_eval(conv, norm))
            del module.bn
    return fused
