"""The moving average: warm-up, statistics, whole numbers."""

import pytest
import torch
from torch import nn

from topseg.training.ema import Ema


def test_warms_up_and_averages_statistics() -> None:
    model = nn.BatchNorm2d(1)
    ema = Ema(model, decay=0.5)
    expected = 1.0
    for n in range(12):
        with torch.no_grad():
            model.weight.fill_(n + 2)
            model.running_mean.fill_(n + 2)  # type: ignore[union-attr]
            model.num_batches_tracked.fill_(n)  # type: ignore[union-attr]
        ema.update(model, n)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n + 2)
        assert ema.model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert ema.model.num_batches_tracked.item() == 11
    # The mean started at 0 instead of 1 and has nearly forgotten it.
    assert ema.model.running_mean.item() == pytest.approx(expected, abs=1e-3)


def test_is_no_part_of_the_training() -> None:
    ema = Ema(nn.Conv2d(1, 1, 1), decay=0.9)
    assert not any(p.requires_grad for p in ema.model.parameters())
