"""Sums and counts: equal to torch's own mean, however the batch is cut."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from topseg.losses import CrossEntropy, count_all, total_loss

K, IGNORE = 5, 255


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(4, K, 4, 6, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def masks() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    masks = torch.randint(0, K, (4, 32, 48), generator=generator, dtype=torch.uint8)
    masks[0, :20] = IGNORE  # images have unequal shares of labelled pixels
    masks[3] = IGNORE
    return masks


def torch_mean(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    large = F.interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(large, masks.long(), weights, ignore_index=IGNORE)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0, 0.1, 4.0])])
@pytest.mark.parametrize("size", [(32, 48), (31, 29), (3, 5)], ids=str)
def test_equals_the_mean_over_labelled_pixels(
    logits: Tensor,
    masks: Tensor,
    weights: Tensor | None,
    size: tuple[int, int],
) -> None:
    masks = masks[:, -size[0] :, -size[1] :]
    logits.requires_grad_()
    terms = [CrossEntropy(class_weights=None if weights is None else weights.tolist())]
    loss = total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = torch_mean(logits, masks, weights)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-8)


def test_parts_add_up_to_the_batch(logits: Tensor, masks: Tensor) -> None:
    terms = [
        CrossEntropy(),
        CrossEntropy(weight=0.3, class_weights=(1.5,) * K),
    ]
    counts = count_all(terms, masks, IGNORE)
    whole = total_loss(terms, logits, masks, IGNORE, counts)
    parts = [
        total_loss(terms, part, mask, IGNORE, counts)
        for part, mask in zip(logits.split([1, 3]), masks.split([1, 3]), strict=True)
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-12)
    assert whole.item() == pytest.approx(1.3 * torch_mean(logits, masks).item(), rel=1e-6)
    split = sum(count_all(terms, mask, IGNORE) for mask in masks.split(2))
    torch.testing.assert_close(split, counts, rtol=0, atol=1e-9)


def test_counts_are_of_labels_alone(masks: Tensor) -> None:
    labelled = int((masks != IGNORE).sum())
    assert CrossEntropy().count(masks, IGNORE).item() == labelled
    first = int((masks == 0).sum())
    weighted = CrossEntropy(class_weights=(2.0, 1.0, 1.0, 1.0, 1.0))
    assert weighted.count(masks, IGNORE).item() == labelled + first


def test_mean_over_all_pixels_is_the_official_codes(logits: Tensor, masks: Tensor) -> None:
    weights = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.5])
    terms = [CrossEntropy(mean_over="all", class_weights=weights.tolist())]
    large = F.interpolate(logits, masks.shape[1:], mode="bilinear")
    pixels = F.cross_entropy(large, masks.long(), weights, ignore_index=IGNORE, reduction="none")
    loss = total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))
    assert loss.item() == pytest.approx(pixels.mean().item(), rel=1e-6)


def test_nothing_labelled_gives_zero(logits: Tensor, masks: Tensor) -> None:
    logits.requires_grad_()
    terms = [CrossEntropy()]
    masks[:] = IGNORE
    loss = total_loss(terms, logits, masks, IGNORE, count_all(terms, masks, IGNORE))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


def test_many_classes_and_half_precision(masks: Tensor) -> None:
    wide = torch.randn(4, 300, 4, 6).bfloat16().requires_grad_()
    deep = masks.to(torch.int32) + 40
    deep[masks == IGNORE] = 65535
    with torch.autocast("cpu", torch.bfloat16):
        loss = CrossEntropy().sum(wide, deep, 65535)
    loss.backward()
    large = F.interpolate(wide.detach().float(), (32, 48), mode="bilinear")
    expected = F.cross_entropy(large, deep.long(), ignore_index=65535, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert wide.grad is not None
    assert wide.grad.dtype == torch.bfloat16


def test_needs_no_gradient(logits: Tensor, masks: Tensor) -> None:
    with torch.no_grad():
        assert not CrossEntropy().sum(logits, masks, IGNORE).requires_grad
