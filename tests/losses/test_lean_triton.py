"""The Triton kernels equal the plain loss.

They run on a GPU, or anywhere in Triton's interpreter: ``TRITON_INTERPRET=1 pytest FILE``.
"""

import os
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds")

from test_lean import OPTIONS, assert_near, example, lean, oracle  # noqa: E402

from topseg.losses.lean import Mining, _triton_agrees, upsampled_cross_entropy  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # before anything imports Triton
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="no GPU, and TRITON_INTERPRET is not 1"
)
SHAPES = [  # (B, K, h, w), (H, W)
    ((2, 2, 3, 2), (24, 16)),
    ((1, 19, 4, 3), (29, 23)),
    ((2, 150, 2, 3), (16, 24)),
    ((1, 1000, 2, 2), (13, 11)),
    ((1, 5, 4, 4), (4, 4)),
    ((1, 8, 9, 11), (5, 3)),
    ((2, 3, 1, 1), (6, 7)),
    ((1, 3, 2, 2), (64, 37)),
]


@pytest.fixture(autouse=True)
def _only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topseg.losses.lean.implementations", lambda device: ("triton", "torch"))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_equals_the_plain_loss(shape: Any, size: Any, options: Any) -> None:
    logits, target, weights = example(shape, size)
    weights = weights if "class_weights" in options else None
    here = weights if weights is None else weights.to(DEVICE)
    options = {**options, "class_weights": here}
    *found, count = (part.cpu() for part in lean(logits.to(DEVICE), target.to(DEVICE), **options))
    smoothing = options.get("label_smoothing", 0)
    assert_near(tuple(found), oracle(logits, target, weights, smoothing))
    labelled = target[target != 65535]
    counted = labelled.numel() if weights is None else weights[labelled].sum()
    assert count.item() == pytest.approx(float(counted), rel=1e-6)


@pytest.mark.parametrize("scale", [100, 1e4])
def test_distant_logits(scale: float) -> None:
    logits, target, _ = example((1, 7, 3, 3), (24, 24), scale)
    total, gradient, _ = lean(logits.to(DEVICE), target.to(DEVICE))
    assert_near((total.cpu(), gradient.cpu()), oracle(logits, target))


@pytest.mark.parametrize("mining", [Mining(0.3, 1), Mining(0.01, 150)], ids=str)
def test_mines_the_same_pixels_as_bands(mining: Mining) -> None:
    logits, target, weights = (one.to(DEVICE) for one in example((2, 6, 2, 2), (15, 19)))
    options: dict[str, Any] = {"class_weights": weights, "mining": mining}
    found = lean(logits, target, **options)
    expected = lean(logits, target, implementation="torch", **options)
    assert 0 < found[2] < (target != 65535).sum()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_all_ignored() -> None:
    logits, target, _ = example((2, 2, 3, 4), (24, 32))
    total, gradient, count = lean(logits.to(DEVICE), target.to(DEVICE).fill_(65535))
    assert (total, count, gradient.count_nonzero()) == (0, 0, 0)


def test_memory_orders_half_precision_and_no_gradient() -> None:
    logits, target, _ = (one.to(DEVICE) for one in example((2, 5, 2, 1), (16, 8)))
    total, gradient, _ = lean(logits, target)
    last = lean(logits.contiguous(memory_format=torch.channels_last), target)
    assert torch.equal(last[0], total)
    assert torch.equal(last[1], gradient)
    half = lean(logits.bfloat16(), target)
    assert torch.equal(half[0], lean(logits.bfloat16().float(), target)[0])
    with torch.no_grad():
        alone, _ = upsampled_cross_entropy(logits, target, ignore_index=65535)
    assert torch.equal(alone, total)


def test_the_same_bit_by_bit() -> None:
    logits, target, _ = (one.to(DEVICE) for one in example((1, 70, 2, 2), (16, 16)))
    for one, other in zip(lean(logits, target), lean(logits, target), strict=True):
        assert torch.equal(one, other)


def test_the_first_use_finds_that_they_agree() -> None:
    assert _triton_agrees(DEVICE)
