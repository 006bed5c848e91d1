"""Distillation: the papers' formulas, place by place and class by class."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses.distillation import channel_wise, soft_targets

T = 4.0


@pytest.fixture
def teacher(logits: Tensor) -> Tensor:
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(7)) * 2


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of two vectors of logits, times the squared temperature."""
    theirs = (teacher / T).softmax(0)
    return T**2 * (theirs * (theirs.log() - (student / T).softmax(0).log())).sum()


def test_channel_wise_is_the_papers(logits: Tensor, teacher: Tensor, K: int) -> None:
    """CWD: T^2 / C times the sum over channels of the divergence over places."""
    channels = (image.flatten(2).flatten(0, 1).double() for image in (logits, teacher))
    pairs = zip(*channels, strict=True)
    expected = torch.stack([divergence(*pair) for pair in pairs]).sum() / K
    assert channel_wise(logits, teacher, T).item() == pytest.approx(expected.item(), rel=1e-5)


def test_soft_targets_are_torchs(logits: Tensor, teacher: Tensor) -> None:
    ours = (logits.double() / T).log_softmax(1)
    theirs = (teacher.double() / T).softmax(1)
    expected = T**2 * F.kl_div(ours, theirs, reduction="none").sum(1).mean((1, 2)).sum()
    assert soft_targets(logits, teacher, T).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_logits_are_at_no_distance(logits: Tensor) -> None:
    for loss in (channel_wise, soft_targets):
        total = loss(logits, logits.detach(), T)
        (gradient,) = torch.autograd.grad(total, logits)
        assert total.item() == pytest.approx(0, abs=1e-6)
        assert gradient.abs().max() < 1e-6


def test_a_class_may_be_shifted_as_a_whole(logits: Tensor) -> None:
    """What distinguishes the two: CWD sees places within a class only."""
    shifted = logits.detach() + torch.arange(logits.shape[1]).view(1, -1, 1, 1)
    assert channel_wise(shifted, logits.detach(), T).item() == pytest.approx(0, abs=1e-5)
    assert soft_targets(shifted, logits.detach(), T).item() > 0.1
