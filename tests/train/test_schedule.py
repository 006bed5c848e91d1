"""The learning rate: the reference's own figures."""

import pytest

from topseg.recipe import ScheduleConfig
from topseg.train.schedule import learning_rate


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
