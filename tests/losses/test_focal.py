"""Focal loss: the paper's formula."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses import CrossEntropy, Focal, count_all, total_loss

IGNORE = 255
pytestmark = pytest.mark.usefixtures("band")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_equals_the_formula(
    gamma: float, weighted: bool, logits: Tensor, masks: Tensor, K: int
) -> None:
    alpha = 0.5 + 0.3 * torch.arange(K) if weighted else torch.ones(K)
    terms = [Focal(gamma=gamma, class_weights=alpha.tolist() if weighted else None)]
    loss = total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))
    large = F.interpolate(logits.double(), masks.shape[1:], mode="bilinear").movedim(1, -1)
    known = masks != IGNORE
    truth = masks[known].long()
    share = large[known].softmax(-1).gather(1, truth[:, None]).squeeze(1)
    weight = alpha.double()[truth]
    expected = -(weight * (1 - share) ** gamma * share.log()).sum() / weight.sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


def test_gamma_zero_is_cross_entropy(logits: Tensor, masks: Tensor, K: int) -> None:
    focal, plain = Focal(gamma=0).sum(logits, masks, IGNORE), CrossEntropy()
    assert focal.item() == pytest.approx(plain.sum(logits, masks, IGNORE).item(), rel=1e-6)


def test_parts_add_up(logits: Tensor, masks: Tensor, K: int) -> None:
    term = Focal()
    whole = term.sum(logits, masks, IGNORE)
    parts = term.sum(logits[:1], masks[:1], IGNORE) + term.sum(logits[1:], masks[1:], IGNORE)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-9)


def test_sure_and_wrong_pixels_have_a_gradient(K: int) -> None:
    """A logit so large that the probability rounds to 0 or 1."""
    logits = torch.zeros(1, K, 1, 1)
    logits[0, 0] = 200
    logits.requires_grad_()
    masks = torch.tensor([[[0, 1]]])
    Focal().sum(logits, masks, IGNORE).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0] > 0.9


def test_nothing_labelled_gives_zero(logits: Tensor, masks: Tensor, K: int) -> None:
    masks[:] = IGNORE
    terms = [Focal()]
    loss = total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_a_pixel_that_is_wholly_sure_has_no_gradient(gamma: float, K: int) -> None:
    logits = torch.zeros(1, K, 1, 1)
    logits[0, 0] = 200
    logits.requires_grad_()
    Focal(gamma=gamma).sum(logits, torch.zeros(1, 8, 8, dtype=torch.uint8), IGNORE).backward()
    assert logits.grad is not None
    assert not logits.grad.any()
