"""Dice: counted pixel by pixel."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses import Dice, count_all, total_loss

IGNORE = 255
pytestmark = pytest.mark.usefixtures("band")


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    terms = [Dice()]
    return total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))


def test_equals_the_formula(logits: Tensor, masks: Tensor, K: int) -> None:
    shares = F.interpolate(logits.double(), masks.shape[1:], mode="bilinear").softmax(1)
    overlaps = []
    for index in range(K):
        given, own = shares[:, index][masks != IGNORE], (masks == index)[masks != IGNORE].double()
        if own.any():
            overlaps.append((2 * (given * own).sum() + 1) / (given.sum() + own.sum() + 1))
    expected = 1 - sum(overlaps) / len(overlaps)
    loss = loss_of(logits, masks)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-8)


def test_perfect_masks_cost_nothing(K: int) -> None:
    masks = torch.arange(K).view(1, 1, K).expand(1, 4, K).repeat_interleave(4, 2)
    logits = 100 * F.one_hot(masks, K).movedim(-1, 1).float()
    assert loss_of(logits, masks).item() == pytest.approx(0, abs=1e-6)


def test_nothing_labelled_gives_zero(logits: Tensor, masks: Tensor) -> None:
    masks[:] = IGNORE
    loss = loss_of(logits, masks)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


def test_parts_count_by_their_images(logits: Tensor, masks: Tensor) -> None:
    terms = [Dice()]
    counts = count_all(terms, masks, IGNORE)
    parts = [
        total_loss(terms, logits[i], masks[i], IGNORE, counts) for i in (slice(1), slice(1, 3))
    ]
    ones = [loss_of(logits[i], masks[i]) for i in (slice(1), slice(1, 3))]
    assert sum(parts).item() == pytest.approx((ones[0].item() + 2 * ones[1].item()) / 3)
