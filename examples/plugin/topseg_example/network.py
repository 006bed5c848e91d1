"""PatchNet: patches of 8x8 pixels, a look at the neighbours, a class for each patch.

Shapes: B batch, C channels, H W pixels, D width, K classes
"""

from __future__ import annotations

from torch import Tensor, nn


class PatchNet(nn.Module):
    """The smallest network that keeps topseg's contract: logits at stride 8, ``backbone.*``.

    Shape:
        (B, C, H, W) normalised float -> (B, K, H/8, W/8)
    """

    def __init__(self, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(in_channels, width, 8, stride=8),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.decode_head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        features = self.backbone(images)  # (B, D, H/8, W/8)
        logits: Tensor = self.decode_head(features)  # (B, K, H/8, W/8)
        return logits
