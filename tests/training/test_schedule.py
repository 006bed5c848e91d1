"""The learning rate: the reference's own figures."""

import pytest
import torch
from torch.optim import lr_scheduler

from topseg.recipe import ScheduleConfig
from topseg.training.schedule import learning_rate


@pytest.mark.parametrize(
    ("step", "lr"),
    [  # printed by PaddleSeg for 160,000 steps with a peak of 0.0012
        (0, 1e-6),
        (1, 1.79933e-6),
        (749, 5.997007e-4),
        (1499, 1.1992007e-3),
        (1500, 1.2e-3),
        (1501, 1.199992429e-3),
        (80_000, 6.05678e-4),
        (159_999, 7.571e-9),
        (160_000, 0),
    ],
)
def test_equals_the_reference(step: int, lr: float) -> None:
    config = ScheduleConfig(warmup_steps=1500, warmup_lr=1e-6)
    assert learning_rate(step, 160_000, 1.2e-3, config) == pytest.approx(lr, rel=1e-4)


@pytest.mark.parametrize("step", [0, 1, 750, 1499, 1500, 80_000, 159_999, 160_000])
def test_equals_the_official_code(step: int) -> None:
    """The rule of mmcv's poly policy with linear warm-up by ratio, as its source states it."""
    regular = 1.2e-3 * (1 - step / 160_000)
    missing = max(0, 1 - step / 1500) * (1 - 1e-6)
    config = ScheduleConfig(warmup_steps=1500, warmup_lr=1.2e-9, decay_from="start")
    assert learning_rate(step, 160_000, 1.2e-3, config) == pytest.approx(regular * (1 - missing))


def test_power_and_end() -> None:
    config = ScheduleConfig(power=2, end_lr=0.1)
    rates = [learning_rate(step, 4, 1.0, config) for step in (0, 2, 4, 9)]
    assert rates == pytest.approx([1.0, 0.1 + 0.9 / 4, 0.1, 0.1])


def torch_rates(make: object, steps: int) -> list[float]:
    """Learning rates by a scheduler of torch's."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = make(optimizer)  # type: ignore[operator]
    rates = []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_is_torchs() -> None:
    expected = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.01), 20)
    config = ScheduleConfig(name="cosine", end_lr=0.01)
    rates = [learning_rate(step, 20, 0.1, config) for step in range(20)]
    assert rates == pytest.approx(expected)
    warm = ScheduleConfig(name="cosine", end_lr=0.01, warmup_steps=4, warmup_lr=0)
    rates = [learning_rate(step, 24, 0.1, warm) for step in range(24)]
    assert rates == pytest.approx([0, 0.025, 0.05, 0.075, *expected])


def test_one_cycle_is_torchs() -> None:
    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.OneCycleLR:
        # It reaches the peak at pct_start * total_steps - 1, the end at total_steps - 1.
        return lr_scheduler.OneCycleLR(
            optimizer, 0.1, 21, pct_start=7 / 21, div_factor=10, final_div_factor=100
        )

    config = ScheduleConfig(name="one_cycle", warmup_steps=6, warmup_lr=0.01, end_lr=1e-4)
    rates = [learning_rate(step, 20, 0.1, config) for step in range(21)]
    assert rates == pytest.approx(torch_rates(make, 21)[:21])
