"""Two pooling rules: equal at multiples of 64, two models elsewhere."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from golden.fill import golden_model, make_input
from spread import assert_within
from topseg.models.topformer.pooling import pool_tokens

SIZES = [(64, 64), (96, 160), (32, 64), (32, 32), (224, 224), (288, 480), (64, 544)]


def pyramid(height: int, width: int) -> list[torch.Tensor]:
    torch.manual_seed(height * width)
    return [torch.randn(2, 3, height // stride, width // stride) for stride in (4, 8, 16, 32)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_adaptive_is_adaptive_average_pooling(height: int, width: int) -> None:
    maps = pyramid(height, width)
    grid = (-(-height // 64), -(-width // 64))
    expected = torch.cat([F.adaptive_avg_pool2d(x, grid) for x in maps], dim=1)
    assert_within(pool_tokens(maps, "adaptive"), expected, 1e-5)  # seen: 5e-7


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fixed_is_average_pooling_of_what_there_is(height: int, width: int) -> None:
    maps = pyramid(height, width)
    kernels = [(min(k, x.shape[2]), min(k, x.shape[3])) for x, k in zip(maps, (16, 8, 4, 2))]  # noqa: B905
    expected = torch.cat([F.avg_pool2d(x, k) for x, k in zip(maps, kernels)], dim=1)  # noqa: B905
    assert_within(pool_tokens(maps, "fixed"), expected, 1e-5)  # seen: 5e-7


@pytest.mark.parametrize(("size", "shape"), [("tiny", (64, 192)), ("base", (128, 64))])
@torch.inference_mode()
def test_rules_agree_at_multiples_of_64(size: str, shape: tuple[int, int]) -> None:
    x = make_input((1, 3, *shape))
    fixed, adaptive = (golden_model(f"topformer_{size}", pool)(x) for pool in ("fixed", "adaptive"))
    torch.testing.assert_close(fixed, adaptive, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("size", "shape", "apart"),
    [
        ("tiny", (96, 160), 1.1),
        ("tiny", (288, 480), 0.45),
        ("tiny", (512, 544), 0.32),
        ("small", (96, 160), 1.4),
        ("small", (288, 480), 0.79),
        ("base", (96, 160), 1.2),
        ("base", (288, 480), 0.54),
    ],
)
@torch.inference_mode()
def test_rules_differ_elsewhere_as_the_references_do(
    size: str, shape: tuple[int, int], apart: float
) -> None:
    """The figures are the largest differences between the two reference codes, two digits each."""
    x = make_input((1, 3, *shape))
    fixed, adaptive = (golden_model(f"topformer_{size}", pool)(x) for pool in ("fixed", "adaptive"))
    upsampled: Any = F.interpolate(fixed - adaptive, shape, mode="bilinear", align_corners=False)
    assert float(upsampled.abs().max()) == pytest.approx(apart, rel=0.05)
