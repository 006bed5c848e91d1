"""Validation: the evaluation of a model while it is trained, shared by all processes.

It calls the same ``evaluate`` as the command line does, on the same Predictor, so the mIoU in the
log is the one that the finished model is measured with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import nn

from topseg.bundle import Metadata
from topseg.data.dataset import Dataset
from topseg.data.sample import Sample
from topseg.evaluation import evaluate
from topseg.metrics import ConfusionMatrix, Scores
from topseg.predict import Predictor
from topseg.runtimes.torch import TorchRuntime
from topseg.train.distributed import World
from topseg.train.stop import StopSignal


def validate(
    model: nn.Module,
    metadata: Metadata,
    dataset: Dataset,
    world: World,
    stop: StopSignal,
    progress: Callable[[int, int], None],
) -> Scores | None:
    """Evaluate a model; every process takes its share of the images.

    Args:
        model: The model, in any mode.
        metadata: Of the model.
        dataset: All images.
        world: The processes.
        stop: Breaks it off.
        progress: Called after each image of this process with (done, total).

    Returns:
        The scores over all images, in every process; None where a signal broke it off.
    """
    share = _Share(dataset, world, stop)
    confusion = ConfusionMatrix(dataset.labels.num_classes)
    if len(share):
        predictor = Predictor(TorchRuntime(model, metadata, world.device))
        with contextlib.suppress(_Stopped):
            confusion = evaluate(predictor, share, progress=progress).confusion
    if world.any(stop.code != 0):
        return None
    counts = torch.from_numpy(confusion.counts.copy()).to(world.device)
    confusion.counts = world.add(counts).cpu().numpy()
    return Scores(dataset.labels.names, confusion, images=len(dataset))


class _Stopped(Exception):
    """A signal came."""


class _Share:
    """Every n-th image of a data set; a signal ends the reading of it."""

    def __init__(self, dataset: Dataset, world: World, stop: StopSignal) -> None:
        self.labels = dataset.labels
        self._dataset, self._stop = dataset, stop
        self._indices = range(world.rank, len(dataset), world.size)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        if self._stop.code:
            raise _Stopped
        return self._dataset[self._indices[index]]
