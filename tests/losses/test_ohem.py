"""OHEM: the hard pixels found by sorting all of them."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses import Ohem, count_all, total_loss

IGNORE = 255


def pixels(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and probability of the true class of each labelled pixel, in float64."""
    large = F.interpolate(logits.double(), masks.shape[1:], mode="bilinear")
    losses = F.cross_entropy(large, masks.long(), ignore_index=IGNORE, reduction="none")
    labelled = losses[masks != IGNORE]
    return labelled, (-labelled).exp()


def check(term: Ohem, logits: Tensor, masks: Tensor, expected: Tensor) -> None:
    loss = total_loss([term], logits, masks, IGNORE, count_all([term], masks, IGNORE))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_by_threshold(threshold: float, logits: Tensor, masks: Tensor, K: int) -> None:
    losses, shares = pixels(logits, masks)
    term = Ohem(threshold=threshold, min_kept=1)
    check(term, logits, masks, losses[shares < threshold].mean())


def test_keeps_so_many_an_image(logits: Tensor, masks: Tensor, K: int) -> None:
    losses, _ = pixels(logits, masks)
    term = Ohem(threshold=1e-9, min_kept=100)
    check(term, logits, masks, losses.topk(300).values.mean())


def test_keeps_no_more_than_there_are(logits: Tensor, masks: Tensor, K: int) -> None:
    losses, _ = pixels(logits, masks)
    check(Ohem(threshold=1e-9, min_kept=10**6), logits, masks, losses.mean())


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_by_fraction_is_the_references(
    fraction: float, logits: Tensor, masks: Tensor, K: int
) -> None:
    """PaddleSeg ranks all pixels, those without a class with a loss of 0."""
    losses, _ = pixels(logits, masks)
    kept = int(fraction * masks.numel())
    check(
        Ohem(fraction=fraction),
        logits,
        masks,
        losses.sort(descending=True).values[:kept].sum() / kept,
    )


def test_class_weights_make_a_weighted_mean(logits: Tensor, masks: Tensor, K: int) -> None:
    weights = 0.5 + 0.3 * torch.arange(K, dtype=torch.float64)
    losses, shares = pixels(logits, masks)
    weight = weights[masks[masks != IGNORE].long()]
    term = Ohem(threshold=0.6, min_kept=1, class_weights=weights.tolist())
    hard = shares < 0.6
    check(term, logits, masks, (losses * weight)[hard].sum() / weight[hard].sum())


@pytest.mark.parametrize("fraction", [None, 0.5])
def test_nothing_labelled_gives_zero(fraction: float | None, logits: Tensor, K: int) -> None:
    masks = torch.full((3, 31, 45), IGNORE, dtype=torch.uint8)
    check(Ohem(fraction=fraction), logits, masks, logits.sum() * 0)


@pytest.mark.parametrize("term", [Ohem(min_kept=1), Ohem(fraction=0.1)])
def test_a_loss_that_is_not_a_number_is_not_left_out(
    term: Ohem, logits: Tensor, masks: Tensor, K: int
) -> None:
    """Else a network that gives nothing but nan would have the loss 0."""
    broken = torch.full_like(logits, torch.nan)
    assert total_loss([term], broken, masks, IGNORE, count_all([term], masks, IGNORE)).isnan()
