"""Outlook: what a run is about to do, in one line, and how long it will take, in another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from topseg.core.terminal import duration
from topseg.data.dataset import Dataset
from topseg.recipe import Recipe
from topseg.training.distributed import World
from topseg.training.state import TrainState

MEASURED = 5
"""Steps to measure; the one before them, in which everything starts, is not counted."""


def describe_run(
    recipe: Recipe, data: Dataset, val: Dataset, state: TrainState, world: World
) -> str:
    """Return device, model and data of a run.

    Args:
        recipe: What is trained.
        data: The training split.
        val: The validation split.
        state: The network and all that is trained with it.
        world: The processes.
    """
    parameters = sum(p.numel() for p in state.model.parameters()) / 1e6
    weights = recipe.model.weights or recipe.model.backbone_weights
    start = f" from {weights}" if weights else ""
    processes = f"{world.size} x " if world.size > 1 else ""
    return (
        f"{recipe.model.name}, {parameters:.2f} M parameters{start}, on {processes}"
        f"{world.device.type}; {len(data)} training and {len(val)} validation images, "
        f"{data.labels.num_classes} classes; {recipe.train.steps} steps of "
        f"{recipe.train.batch_size} images"
    )


class Outlook:
    """Estimates the time of a run from its first steps and one validation image."""

    def __init__(self, recipe: Recipe, start: int, images: int) -> None:
        """Begin.

        Args:
            recipe: What is trained.
            start: Steps done before.
            images: Validation images of this process.
        """
        self._train, self._start, self._images = recipe.train, start, images
        self._clock: float | None = None

    def estimate(self, step: int, evaluate_one: Callable[[], object]) -> str | None:
        """Return the estimate, once, after the steps that it is measured on.

        Args:
            step: Steps done.
            evaluate_one: Does what an evaluation does with one image.

        Returns:
            A line; None where it is too early, where it has been returned, and for runs that are
            over as soon as they are measured.
        """
        done = step - self._start
        if done == 1:
            self._clock = time.perf_counter()
        left = self._train.steps - step
        if self._clock is None or done != 1 + MEASURED or left < MEASURED:
            return None
        pace = (time.perf_counter() - self._clock) / MEASURED
        every, steps = self._train.eval_every, self._train.steps
        evaluations = math.ceil(steps / every) - step // every
        clock = time.perf_counter()
        evaluate_one()
        evaluation = (time.perf_counter() - clock) * self._images
        many = "s" if evaluations > 1 else ""
        return (
            f"about {duration(left * pace + evaluations * evaluation)} to go: {left} steps of "
            f"{duration(pace)}, {evaluations} evaluation{many} of {duration(evaluation)}"
        )
