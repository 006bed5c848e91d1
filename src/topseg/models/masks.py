"""Masks: a network that ends in masks, for graphs whose consumer wants a single file.

The plain tail, inside the graph: it costs several times the network, so topseg's own engines keep
it outside (``upsample.upsample_argmax``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topseg.core.geometry import Size


class Masks(nn.Module):
    """Bilinear upsampling, then argmax.

    Args:
        model: (B, H, W, C) uint8 -> (B, K, H/8, W/8) logits.
        num_classes: K; above 255 the masks are int32 instead of uint8.
        size: (height, width) of the masks; None: the input's.

    Shape:
        (B, H, W, C) uint8 -> (B, height, width) uint8
    """

    def __init__(self, model: nn.Module, num_classes: int, size: Size | None = None) -> None:
        super().__init__()
        self.model = model
        self.size = size
        self.dtype = torch.uint8 if num_classes <= 255 else torch.int32

    def forward(self, images: Tensor) -> Tensor:
        """Return masks."""
        size = images.shape[1:3] if self.size is None else self.size
        logits = F.interpolate(self.model(images), size, mode="bilinear", align_corners=False)
        return logits.argmax(dim=1).to(self.dtype)  # (B, K, H, W) -> (B, H, W)
