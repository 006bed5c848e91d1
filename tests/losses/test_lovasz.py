"""Lovász-softmax: the Lovász extension of the Jaccard loss, by its definition."""

from itertools import accumulate

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses import Lovasz, count_all, total_loss

IGNORE = 255


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    terms = [Lovasz()]
    return total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))


def jaccard_loss(truth: set[int], wrong: set[int]) -> float:
    """One minus the IoU of a class when the pixels ``wrong`` are taken for what they are not."""
    predicted = truth ^ wrong
    return 1 - len(truth & predicted) / len(truth | predicted)


def extension(errors: list[float], truth: set[int]) -> float:
    """Sum over sorted errors of the error times what the pixel adds to the set function."""
    order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
    sets = accumulate(order, lambda wrong, pixel: wrong | {pixel}, initial=set[int]())
    values = [jaccard_loss(truth, wrong) for wrong in sets]
    steps = zip(order, values, values[1:], strict=False)
    return sum(errors[pixel] * (after - before) for pixel, before, after in steps)


def test_equals_the_definition(logits: Tensor, masks: Tensor, K: int) -> None:
    masks = masks[:2, 15:24, :12]
    logits = logits[:2]
    shares = F.interpolate(logits.double(), masks.shape[1:], mode="bilinear").softmax(1)
    known = masks != IGNORE
    truth = masks[known].tolist()
    losses = []
    for index in sorted(set(truth)):
        given = shares[:, index][known].tolist()
        errors = [abs((t == index) - p) for t, p in zip(truth, given, strict=True)]
        losses.append(extension(errors, {i for i, t in enumerate(truth) if t == index}))
    assert loss_of(logits, masks).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_gradient_is_that_of_the_loss(logits: Tensor, masks: Tensor) -> None:
    (gradient,) = torch.autograd.grad(loss_of(logits, masks), logits)
    direction = gradient / gradient.norm() * 1e-2
    with torch.no_grad():
        ahead, behind = (loss_of(logits + s * direction, masks).item() for s in (1, -1))
    assert (gradient * direction).sum().item() == pytest.approx((ahead - behind) / 2, rel=1e-2)


def test_right_masks_cost_nothing_and_wrong_ones_their_iou() -> None:
    masks = torch.tensor([[[0, 0, 0, 1]]])
    right = 100 * F.one_hot(masks, 2).movedim(-1, 1).float()
    assert loss_of(right, masks).item() == pytest.approx(0, abs=1e-6)
    all_zero = 100 * F.one_hot(masks * 0, 2).movedim(-1, 1).float()
    assert loss_of(all_zero, masks).item() == pytest.approx((1 / 4 + 1) / 2)


def test_nothing_labelled_gives_zero(logits: Tensor, masks: Tensor) -> None:
    masks[:] = IGNORE
    loss = loss_of(logits, masks)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()
