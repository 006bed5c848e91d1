"""Validation: the evaluation of a model while it is trained, shared by all processes.

It feeds accumulators as ``evaluate`` does, by the same Predictor, so the mIoU in the log is the one
that the finished model is measured with. The loss is one more accumulator on the same logits: the
mean cross-entropy of the labelled pixels, whatever the recipe trains with, so that runs with other
losses can be compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError
from topseg.core.labels import Mask
from topseg.core.stop import StopSignal
from topseg.data.dataset import Dataset
from topseg.evaluation.accumulator import Accumulator, State
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.run import accumulate
from topseg.evaluation.scores import Scores
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Logits
from topseg.losses.lean import upsampled_cross_entropy
from topseg.media.drawing import Picture, overlay
from topseg.runtimes.torch import TorchRuntime
from topseg.training.distributed import World


def validate(
    model: nn.Module,
    metadata: Metadata,
    dataset: Dataset,
    world: World,
    stop: StopSignal,
    progress: Callable[[int, int], None],
) -> tuple[Scores, float] | None:
    """Evaluate a model; every process takes its share of the images.

    Args:
        model: The model, in any mode.
        metadata: Of the model.
        dataset: All images.
        world: The processes.
        stop: Breaks it off.
        progress: Called after each image of this process with (done, total).

    Returns:
        The scores over all images and the mean loss, in every process; None where a signal broke
        it off.
    """
    indices = range(world.rank, len(dataset), world.size)
    samples = (dataset[i] for i in itertools.takewhile(lambda _: not stop.code, indices))
    labels = dataset.labels
    parts: tuple[Accumulator, ...] = (
        ConfusionMatrix(labels.num_classes, labels.ignore_index),
        MeanLoss(labels.ignore_index),
    )
    accumulate(
        Predictor(TorchRuntime(model, metadata, world.device)),
        samples,
        parts,
        progress=lambda done: progress(done, len(indices)),
    )
    if world.any(stop.code != 0):
        return None
    confusion = ConfusionMatrix(labels.num_classes, labels.ignore_index)
    loss = MeanLoss(labels.ignore_index)
    wholes: tuple[Accumulator, ...] = (confusion, loss)
    for whole, part in zip(wholes, parts, strict=True):
        for state in world.gather(part.state()):  # in the same order in every process
            whole.merge(state)
    return Scores(labels.names, confusion, images=len(dataset)), loss.mean


class MeanLoss:
    """An accumulator: the cross-entropy of the interpolated logits.

    Attributes:
        sums: (2,) float64: the losses of all labelled pixels, and how many those are.
    """

    def __init__(self, ignore_index: int) -> None:
        self.sums = np.zeros(2)
        self._ignore_index = ignore_index

    @property
    def mean(self) -> float:
        """The mean over labelled pixels; nan where there are none."""
        return float(self.sums[0] / self.sums[1]) if self.sums[1] else math.nan

    def update(self, truth: Mask, mask: Mask, logits: Logits | None) -> None:
        """Add one image's losses.

        Raises:
            InputError: There are no logits.
        """
        if logits is None:
            raise InputError("loss: this protocol has no logits; take the protocol direct")
        target = torch.from_numpy(truth.astype(np.int32))[None]
        found = upsampled_cross_entropy(
            torch.from_numpy(logits)[None], target, ignore_index=self._ignore_index
        )
        self.sums += [float(part) for part in found]

    def state(self) -> State:
        """Return the sums."""
        return {"sums": self.sums}

    def merge(self, state: State) -> None:
        """Add another's sums."""
        self.sums += state["sums"]

    def scores(self) -> dict[str, float]:
        """Return the mean."""
        return {"loss": self.mean}


def draw_samples(
    model: nn.Module, metadata: Metadata, dataset: Dataset, count: int, device: torch.device
) -> Iterator[tuple[str, Picture]]:
    """Draw images spread over a data set: the truth at the left, the prediction at the right.

    Args:
        model: The model, in any mode.
        metadata: Of the model.
        dataset: All images.
        count: How many.
        device: Where to run.

    Yields:
        (name, picture), the names all different.
    """
    predictor = Predictor(TorchRuntime(model, metadata, device))
    for number in range(min(count, len(dataset))):
        sample = dataset[number * len(dataset) // min(count, len(dataset))]
        image = sample.image
        if image.shape[2] != 3:
            image = np.repeat(image[..., :1], 3, axis=2)
        masks = (sample.mask, predictor(sample.image).mask)
        picture = np.hstack([overlay(image, mask, dataset.labels) for mask in masks])
        yield f"{number:02d}_{Path(sample.name).stem}", picture
