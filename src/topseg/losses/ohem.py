"""OHEM: cross-entropy of the hard pixels alone.

Online hard example mining (Shrivastava et al., https://arxiv.org/abs/1604.03540), as segmentation
frameworks do it. By threshold: pixels whose true class has a smaller probability, and at least so
many of an image (mmsegmentation's ``OHEMPixelSampler``). By fraction: that share of all pixels, the
hardest (PaddleSeg's ``top_k_percent_pixels``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from topseg.losses.lean import Mining, upsampled_cross_entropy
from topseg.losses.term import Loss


@dataclass(frozen=True, eq=False, kw_only=True)
class Ohem(Loss):
    """Mean cross-entropy of the hard pixels; each part of a batch finds its own.

    Attributes:
        class_weights: (K,) factors of a pixel's loss; how hard it is does not depend on them.
        fraction: Share of all pixels that counts; None: by threshold.
        threshold: Pixels whose true class has a smaller probability count,
        min_kept: and at least this many an image (over the part), the hardest.
    """

    class_weights: Tensor | None = None
    fraction: float | None = None
    threshold: float = 0.7
    min_kept: int = 100_000

    additive: ClassVar = False

    def sum(self, logits: Tensor, masks: Tensor) -> Tensor:  # noqa: D102
        mining = Mining(self.threshold, self.min_kept * len(masks))
        if self.fraction is not None:  # none is hard by its probability, so many are by their rank
            mining = Mining(sys.float_info.min, max(1, int(self.fraction * masks.numel())))
        total, kept = upsampled_cross_entropy(
            logits,
            masks,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            mining=mining,
        )
        if self.fraction is not None and self.class_weights is None:
            kept = kept.clamp(min=mining.min_kept)  # pixels without a class fill up, with a loss 0
        return len(masks) * total / torch.where(kept > 0, kept, 1.0)
