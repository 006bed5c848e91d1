"""Learner: the network, and the heads that help it while it is trained.

An auxiliary head classifies one inner map of the network by itself (Zhao et al., PSPNet,
https://arxiv.org/abs/1612.01105), so that the early stages get a gradient of their own. The heads
are no part of the network: checkpoints keep them in a file beside it and bundles have none.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from topseg.core.errors import InputError
from topseg.models.family import FeatureNetwork


class Learner(nn.Module):
    """All that is trained; returns the network's logits, then those of each auxiliary head.

    Args:
        model: The network; with strides it is a ``FeatureNetwork``.
        strides: Of the maps that get a head, of the family's ``aux_strides``.
        num_classes: K.

    Raises:
        InputError: Strides of a network whose maps have no heads.

    Shape:
        (B, C, H, W) normalised float -> [(B, K, H/8, W/8), (B, K, H/stride, W/stride) ...]
    """

    def __init__(self, model: nn.Module, strides: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleDict()
        if not strides:
            return
        if not isinstance(model, FeatureNetwork):
            raise InputError("train.aux_strides: the network has no maps for auxiliary heads")
        for stride in strides:
            self.heads[str(stride)] = model.auxiliary_head(stride, num_classes)

    def forward(self, images: Tensor) -> list[Tensor]:  # noqa: D102 - see the Shape above
        if not self.heads:
            return [self.model(images)]
        maps: dict[int, Tensor] = self.model.features(images)  # type: ignore[operator]
        logits: list[Tensor] = [self.model.decode(maps)]  # type: ignore[operator]
        logits += [head(maps[int(stride)]) for stride, head in self.heads.items()]
        return logits
