"""Cross-entropy: torch's own, option by option."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses import CrossEntropy, count_all, total_loss

IGNORE = 255


@pytest.mark.parametrize("weighted", [False, True])
def test_label_smoothing_is_torchs(weighted: bool, logits: Tensor, masks: Tensor, K: int) -> None:
    weights = 0.5 + 0.3 * torch.arange(K) if weighted else None
    terms = [
        CrossEntropy(
            class_weights=None if weights is None else weights.tolist(), label_smoothing=0.1
        )
    ]
    loss = total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))
    expected = F.cross_entropy(
        F.interpolate(logits.double(), masks.shape[1:], mode="bilinear"),
        masks.long(),
        None if weights is None else weights.double(),
        ignore_index=IGNORE,
        label_smoothing=0.1,
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
