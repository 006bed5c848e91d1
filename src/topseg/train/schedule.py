"""Schedule: the learning rate as a pure function of the step, so that resuming needs no state.

Linear warm-up, then polynomial decay over the steps that remain (PaddleSeg
``PolynomialDecay`` under ``LinearWarmup``).
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
    warmup = config.warmup_steps
    if step < warmup:
        return (peak - config.warmup_lr) * step / warmup + config.warmup_lr
    decay = steps - warmup
    left = 1 - min(step - warmup, decay) / decay
    return float((peak - config.end_lr) * left**config.power + config.end_lr)
