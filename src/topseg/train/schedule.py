"""Schedule: the learning rate as a pure function of the step, so that resuming needs no state.

Linear warm-up, then polynomial decay over the steps that remain (PaddleSeg ``PolynomialDecay``
under ``LinearWarmup``); or decay over all steps, times a linear warm-up (mmcv's poly policy).
"""

from __future__ import annotations

from topseg.recipe import ScheduleConfig


def learning_rate(step: int, steps: int, peak: float, config: ScheduleConfig) -> float:
    """Give the learning rate of a step.

    Args:
        step: Counted from 0.
        steps: Steps of the whole run.
        peak: Learning rate at the end of the warm-up.
        config: The shape.
    """
    warmup, from_start = config.warmup_steps, config.decay_from == "start"
    begin = 0 if from_start else warmup
    left = 1 - min(max(step - begin, 0) / (steps - begin), 1)
    decayed = (peak - config.end_lr) * left**config.power + config.end_lr
    if step >= warmup:
        return float(decayed)
    warm = (peak - config.warmup_lr) * step / warmup + config.warmup_lr
    return float(warm * decayed / peak) if from_start else warm
