"""Schedule: the learning rate as a pure function of the step, so that resuming needs no state.

Linear warm-up, then decay over the steps that remain (PaddleSeg ``PolynomialDecay`` under
``LinearWarmup``); or decay over all steps, times a linear warm-up (mmcv's poly policy). The decay
is a polynomial, or half a cosine (Loshchilov and Hutter, https://arxiv.org/abs/1608.03983); with
half a cosine for the warm-up as well it is one cycle (Smith, https://arxiv.org/abs/1803.09820, in
the form of torch's ``OneCycleLR``; momentum stays as it is).
"""

from __future__ import annotations

import math

from topseg.recipe import ScheduleConfig


def learning_rate(step: int, steps: int, peak: float, config: ScheduleConfig) -> float:
    """Return the learning rate of a step.

    Args:
        step: Counted from 0.
        steps: Steps of the whole run.
        peak: Learning rate at the end of the warm-up.
        config: The shape.
    """
    warmup, from_start = config.warmup_steps, config.decay_from == "start"
    begin = 0 if from_start else warmup
    left = 1 - min(max(step - begin, 0) / (steps - begin), 1)
    share = left**config.power if config.name == "poly" else _half_cosine(left)
    decayed = (peak - config.end_lr) * share + config.end_lr
    if step >= warmup:
        return float(decayed)
    share = _half_cosine(step / warmup) if config.name == "one_cycle" else step / warmup
    warm = (peak - config.warmup_lr) * share + config.warmup_lr
    return float(warm * decayed / peak) if from_start else warm


def _half_cosine(x: float) -> float:
    """Rise smoothly from 0 at 0 to 1 at 1."""
    return (1 - math.cos(math.pi * x)) / 2
