"""The lean loss equals the plain one, value and gradient, by every implementation."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn.functional import cross_entropy, interpolate  # noqa: E402

import topseg.losses.lean as lean_module  # noqa: E402
from topseg.core.errors import InputError  # noqa: E402
from topseg.losses.lean import Mining, implementations, upsampled_cross_entropy  # noqa: E402

SHAPES = [  # (B, K, h, w), (H, W)
    ((2, 2, 6, 5), (48, 40)),
    ((1, 19, 7, 9), (61, 53)),
    ((2, 150, 5, 8), (37, 64)),
    ((1, 1000, 3, 4), (20, 17)),
    ((1, 5, 4, 4), (4, 4)),
    ((1, 8, 9, 11), (5, 3)),
    ((2, 3, 1, 1), (6, 7)),
]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weights": {"class_weights": True},
    "smoothing": {"label_smoothing": 0.1},
    "weights and smoothing": {"class_weights": True, "label_smoothing": 0.3},
}


@pytest.fixture(params=implementations())
def implementation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def example(shape: Any, size: Any, scale: float = 3) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=random) * scale
    target = torch.randint(0, shape[1], (shape[0], *size), generator=random)
    target[torch.rand(target.shape, generator=random) < 0.2] = 65535
    return logits, target, torch.rand(shape[1], generator=random) + 0.5


def oracle(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0
) -> tuple[Tensor, Tensor]:
    """The plain loss in float64, and its gradient."""
    logits = logits.double().requires_grad_()
    large = interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
    total = cross_entropy(
        large,
        target,
        None if weights is None else weights.double(),
        ignore_index=65535,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return total.detach(), torch.autograd.grad(total, logits)[0]


def assert_near(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    (total, gradient), (expected_total, expected_gradient) = found, expected
    assert (total - expected_total).abs() <= 1e-6 * expected_total.abs()
    assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()


def lean(logits: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    total, count = upsampled_cross_entropy(logits, target, ignore_index=65535, **options)
    (gradient,) = torch.autograd.grad(total, logits)
    assert total.dtype == count.dtype == torch.float64
    assert gradient.dtype == logits.dtype
    assert gradient.stride() == logits.stride()
    return total.detach(), gradient, count


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_equals_the_plain_loss(shape: Any, size: Any, options: Any, implementation: str) -> None:
    logits, target, weights = example(shape, size)
    options = {**options, "class_weights": weights if "class_weights" in options else None}
    *found, count = lean(logits, target, implementation=implementation, **options)
    smoothing = options.get("label_smoothing", 0)
    assert_near(tuple(found), oracle(logits, target, options["class_weights"], smoothing))
    labelled = target[target != 65535]
    counted = labelled.numel() if options["class_weights"] is None else weights[labelled].sum()
    assert count.item() == pytest.approx(float(counted), rel=1e-6)


def test_a_single_class_leaves_nothing_to_learn(implementation: str) -> None:
    logits, target, _ = example((1, 1, 3, 3), (9, 9))
    total, gradient, _ = lean(logits, target, label_smoothing=0.1, implementation=implementation)
    assert abs(total) < 1e-5
    assert gradient.abs().max() < 1e-5


def test_the_mean_is_that_of_torch(implementation: str) -> None:
    logits, target, weights = example(*SHAPES[1])
    options: dict[str, Any] = {"label_smoothing": 0.2, "ignore_index": 65535}
    plain = interpolate(logits, target.shape[1:], mode="bilinear")
    expected = cross_entropy(plain, target, weights, **options)
    total, count = upsampled_cross_entropy(
        logits, target, class_weights=weights, implementation=implementation, **options
    )
    torch.testing.assert_close((total / count).float(), expected)


@pytest.mark.parametrize("scale", [100, 1e4])
def test_distant_logits(scale: float, implementation: str) -> None:
    """Exponentials over a cell's range of logits vanish, those over a pixel's must not."""
    logits, target, _ = example((1, 7, 6, 6), (48, 48), scale)
    total, gradient, _ = lean(logits, target, implementation=implementation)
    assert_near((total, gradient), oracle(logits, target))


def test_all_ignored(implementation: str) -> None:
    logits, target, _ = example(*SHAPES[0])
    for mining in (None, Mining()):
        total, gradient, count = lean(
            logits,
            torch.full_like(target, 65535),
            label_smoothing=0.1,
            mining=mining,
            implementation=implementation,
        )
        assert total == count == 0
        assert not gradient.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_logits_are_not_hidden(bad: float, implementation: str) -> None:
    logits, target, _ = example(*SHAPES[1])
    logits[0, 3, 2, 2] = bad
    total, gradient, _ = lean(logits, target, implementation=implementation)
    assert not total.isfinite()
    assert not gradient.isfinite().all()


@pytest.mark.parametrize("min_kept", [0, 700, 10**6])
def test_mining_of_hard_pixels(min_kept: int, implementation: str) -> None:
    logits, target, _ = example((2, 19, 5, 6), (40, 48), 8)
    values = interpolate(logits.double(), target.shape[1:], mode="bilinear")
    truth = target.where(target != 65535, 0).unsqueeze(1)
    probability = values.softmax(dim=1).gather(1, truth).squeeze(1)
    probability[target == 65535] = 2
    least = probability.flatten().kthvalue(max(1, min(min_kept, int((target != 65535).sum()))))[0]
    kept = (probability < 0.01) | ((probability <= least) & (min_kept > 0))
    kept &= target != 65535
    assert 0 < kept.sum() < target.numel()
    total, gradient, count = lean(
        logits, target, mining=Mining(0.01, min_kept), implementation=implementation
    )
    assert count == kept.sum()
    assert_near((total, gradient), oracle(logits, target.where(kept, 65535)))


@pytest.mark.parametrize("layout", ["channels_last", "strided"])
def test_layouts(layout: str, implementation: str) -> None:
    logits, target, weights = example(*SHAPES[2])
    if layout == "channels_last":
        other = logits.contiguous(memory_format=torch.channels_last)
    else:
        other = torch.stack([logits, logits], dim=-1)[..., 0]
    options = {"class_weights": weights, "label_smoothing": 0.1, "implementation": implementation}
    logits, other = logits.requires_grad_(), other.detach().requires_grad_()
    gradients = []
    for one in (logits, other):
        total, _ = upsampled_cross_entropy(one, target, ignore_index=65535, **options)
        gradients.append(torch.autograd.grad(total, one)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-7)


def test_half_precision(implementation: str) -> None:
    logits, target, _ = example(*SHAPES[1])
    logits = logits.bfloat16()
    total, gradient, _ = lean(logits, target, implementation=implementation)
    expected_total, expected = oracle(logits, target)
    assert (total - expected_total).abs() <= 1e-6 * expected_total
    torch.testing.assert_close(gradient, expected.bfloat16(), rtol=1e-2, atol=1e-4)


def test_integer_types_of_targets(implementation: str) -> None:
    logits, target, _ = example(*SHAPES[0])
    target = target.where(target != 65535, 255)
    found = [
        upsampled_cross_entropy(logits, target.to(kind), implementation=implementation)
        for kind in (torch.uint8, torch.uint16, torch.int16, torch.int64)
    ]
    assert len(set(found)) == len(found)  # tensors compare by identity: four results
    assert len({(total.item(), count.item()) for total, count in found}) == 1


def test_threads_do_not_change_a_bit() -> None:
    logits, target, weights = example((3, 21, 17, 13), (130, 101))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(lean(logits, target, class_weights=weights, label_smoothing=0.1))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)


def test_gradient_is_scaled_by_what_follows(implementation: str) -> None:
    logits, target, _ = example(*SHAPES[1])
    logits.requires_grad_()
    total, count = upsampled_cross_entropy(
        logits, target, ignore_index=65535, implementation=implementation
    )
    assert not count.requires_grad
    (-2 * total / count).backward()
    assert logits.grad is not None
    expected = oracle(logits.detach(), target)[1] * (-2 / count)
    torch.testing.assert_close(logits.grad.double(), expected, rtol=1e-4, atol=1e-8)


def test_no_gradient_is_computed_where_none_is_wanted(implementation: str) -> None:
    logits, target, _ = example(*SHAPES[1])
    total, _ = upsampled_cross_entropy(
        logits, target, ignore_index=65535, implementation=implementation
    )
    assert not total.requires_grad
    torch.testing.assert_close(total, oracle(logits, target)[0], rtol=1e-6, atol=0)


def test_errors(implementation: str) -> None:
    logits, target, weights = example(*SHAPES[0])
    options: dict[str, Any] = {"ignore_index": 65535, "implementation": implementation}
    with pytest.raises(InputError, match=r"class_weights: got \(1,\), expected \(2,\)"):
        upsampled_cross_entropy(logits, target, class_weights=weights[:1], **options)
    with pytest.raises(InputError, match=r"got \(2, 2, 6, 5\) and \(1, 48, 40\), expected \(B, K"):
        upsampled_cross_entropy(logits, target[:1], **options)
    for wrong in (2, -1):
        target[1, 3, 4] = wrong
        with pytest.raises(InputError, match=f"got {wrong}, expected a class from 0 to 1 or 65535"):
            upsampled_cross_entropy(logits, target, **options)
    with pytest.raises(InputError, match="got 'tensorflow', expected one of"):
        upsampled_cross_entropy(logits, target, implementation="tensorflow")


@pytest.mark.parametrize(
    ("installed", "agrees", "expected"),
    [(True, True, ("triton", "torch")), (True, False, ("torch",)), (False, True, ("torch",))],
)
def test_on_a_gpu_triton_comes_first_where_it_agrees(
    installed: bool, agrees: bool, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topseg.losses.lean.find_spec", lambda name: installed)
    monkeypatch.setattr("topseg.losses.lean._triton_agrees", lambda device: agrees)
    assert implementations("cuda") == expected


@pytest.mark.parametrize("factor", [1.0, 1.001, None])
def test_kernels_that_differ_or_fail_are_not_used(
    factor: float | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def kernels(job: Any, logits: Tensor, gradient: Tensor, losses: None) -> tuple[Tensor, Tensor]:
        if factor is None:
            raise RuntimeError("no C compiler")
        total, count = lean_module._by_bands(job, logits, gradient, losses)
        gradient *= factor
        return total, count

    monkeypatch.setattr(lean_module, "_by_triton", kernels)
    lean_module._triton_agrees.cache_clear()
    assert lean_module._triton_agrees("cpu") == (factor == 1)
    lean_module._triton_agrees.cache_clear()
    assert ("in torch, not in Triton" in caplog.text) == (factor != 1)
    assert ("no C compiler" in caplog.text) == (factor is None)
