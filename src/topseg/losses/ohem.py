"""OHEM: cross-entropy of the hard pixels alone.

Online hard example mining (Shrivastava et al., https://arxiv.org/abs/1604.03540), as segmentation
frameworks do it. By threshold: pixels whose true class has a smaller probability, and at least so
many of an image (mmsegmentation's ``OHEMPixelSampler``). By fraction: that share of all pixels, the
hardest (PaddleSeg's ``top_k_percent_pixels``).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Natural, Positive, Share
from topseg.losses.term import ClassWeights, count_images, weight_tensor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ohem:
    """Cross-entropy of the hard pixels alone (online hard example mining)."""

    name: Literal["ohem"] = "ohem"
    weight: Positive = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """As for cross_entropy; how hard a pixel is does not depend on them."""
    fraction: Share | None = None
    """Share of all pixels that counts, the hardest; null: by threshold."""
    threshold: Share = 0.7
    """Pixels count whose true class has a smaller probability than this."""
    min_kept: Natural = 100_000
    """At least this many pixels per image count on average, the hardest."""

    additive: ClassVar[bool] = False
    lean: ClassVar[bool] = True

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Count the images: each part of a batch finds its own hard pixels."""
        return count_images(masks)

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Return the mean over the part's hard pixels, times its images."""
        import torch

        from topseg.losses.lean import Mining, upsampled_cross_entropy

        mining = Mining(self.threshold, self.min_kept * len(masks))
        if self.fraction is not None:  # none is hard by its probability, so many are by their rank
            mining = Mining(sys.float_info.min, max(1, int(self.fraction * masks.numel())))
        total, kept = upsampled_cross_entropy(
            logits,
            masks,
            ignore_index=ignore_index,
            class_weights=weight_tensor(self.class_weights),
            mining=mining,
        )
        if self.fraction is not None and self.class_weights is None:
            kept = kept.clamp(min=mining.min_kept)  # pixels without a class fill up, with a loss 0
        return len(masks) * total / torch.where(kept > 0, kept, 1.0)
