"""Learner: the network, and the heads that help it while it is trained.

An auxiliary head judges one map of the pyramid by itself (Zhao et al., PSPNet,
https://arxiv.org/abs/1612.01105), so that the early stages get a gradient of their own. The heads
are no part of the network: checkpoints keep them in a file beside it and bundles have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from topseg.models.topformer import ConvBN, TopFormer

STRIDES = (4, 8, 16, 32)  # of the pyramid's maps


class Learner(nn.Module):
    """All that is trained; gives the network's logits first, then those of each auxiliary head.

    Args:
        model: The network.
        strides: Of the maps that get a head, of ``STRIDES``.
        num_classes: K.

    Shape:
        (B, C, H, W) normalised float -> [(B, K, H/8, W/8), (B, K, H/stride, W/stride) ...]
    """

    def __init__(self, model: nn.Module, strides: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleDict()
        for stride in strides:
            width = self._network.backbone.channels[STRIDES.index(stride)]
            self.heads[str(stride)] = nn.Sequential(
                ConvBN(width, width, 3), nn.ReLU(), nn.Conv2d(width, num_classes, 1)
            )

    @property
    def _network(self) -> TopFormer:
        return cast(TopFormer, self.model)

    def forward(self, images: Tensor) -> list[Tensor]:  # noqa: D102 - see the Shape above
        if not self.heads:
            return [self.model(images)]
        backbone = self._network.backbone
        pyramid = backbone.tpm(images)
        logits = [self._network.decode_head(backbone.inject(pyramid))]
        for stride, head in self.heads.items():
            logits.append(head(pyramid[STRIDES.index(int(stride))]))
        return logits
