"""Normalize: pixel bytes become the network's numbers, inside the network.

One module for training, the torch runtime and every exported graph, so that nobody who uses a model
has to know its mean and standard deviation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from topseg.bundle.metadata import InputConfig


class Normalize(nn.Module):
    """``(value / 255 - mean) / std`` as one multiply and one subtract per value.

    Shape:
        (B, H, W, C) uint8 -> (B, C, H, W) float32
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, config: InputConfig) -> None:
        super().__init__()
        mean = torch.tensor(config.mean, dtype=torch.float64)
        std = torch.tensor(config.std, dtype=torch.float64)
        # Not parameters of the model: they stand in the metadata.
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (mean / std).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise; the result keeps the channels-last memory of the images."""
        return (images.float() * self.scale - self.shift).permute(0, 3, 1, 2)


class NormalizePlanes(nn.Module):
    """The same for engines that take planes of floats.

    Shape:
        (B, C, H, W) float32 of 0..255 -> (B, C, H, W) float32
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, config: InputConfig) -> None:
        super().__init__()
        normalize = Normalize(config)
        self.register_buffer("scale", normalize.scale[:, None, None], persistent=False)
        self.register_buffer("shift", normalize.shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise."""
        return images * self.scale - self.shift
