"""Validation: the evaluation of a model while it is trained, shared by all processes.

It calls the same ``evaluate`` as the command line does, on the same Predictor, so the mIoU in the
log is the one that the finished model is measured with. The loss comes from the same logits: the
mean cross-entropy of the labelled pixels, whatever the recipe trains with, so that runs with other
losses can be compared.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topseg.bundle.metadata import Metadata
from topseg.core.labels import Mask
from topseg.core.stop import StopSignal
from topseg.data.dataset import Dataset
from topseg.data.sample import Sample
from topseg.evaluation.evaluate import evaluate
from topseg.evaluation.metrics import ConfusionMatrix, Scores
from topseg.inference.predict import Predictor
from topseg.losses.lean import upsampled_cross_entropy
from topseg.media.drawing import Picture, overlay
from topseg.runtimes.torch import TorchRuntime
from topseg.train.distributed import World


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
    share = _Share(dataset, world, stop)
    runtime = _Listener(TorchRuntime(model, metadata, world.device))
    confusion = ConfusionMatrix(dataset.labels.num_classes)
    sums = torch.zeros(2, dtype=torch.float64)  # loss, labelled pixels

    def seen(done: int, total: int) -> None:
        sums.add_(_loss(runtime.logits, share.mask, dataset.labels.ignore_index))
        progress(done, total)

    if len(share):
        with contextlib.suppress(_Stopped):
            confusion = evaluate(Predictor(runtime), share, progress=seen).confusion
    if world.any(stop.code != 0):
        return None
    counts = torch.from_numpy(confusion.counts.copy()).to(world.device)
    confusion.counts = world.add(counts).cpu().numpy()
    loss, pixels = world.add(sums.to(world.device)).tolist()
    scores = Scores(dataset.labels.names, confusion, images=len(dataset))
    return scores, loss / pixels if pixels else math.nan


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


def _loss(logits: NDArray[np.float32], mask: Mask, ignore_index: int) -> Tensor:
    """Give the sum of the cross-entropy and the number of labelled pixels, (2,) float64."""
    target = torch.from_numpy(mask.astype(np.int32))[None]
    found = upsampled_cross_entropy(torch.from_numpy(logits), target, ignore_index=ignore_index)
    return torch.stack(found)


class _Stopped(Exception):
    """A signal came."""


class _Listener:
    """A runtime that remembers its last logits.

    Attributes:
        logits: (1, K, h, w) of the last image.
    """

    engine = "torch"
    takes_float = True

    def __init__(self, runtime: TorchRuntime) -> None:
        self.metadata = runtime.metadata
        self.fixed_size = runtime.fixed_size
        self._runtime = runtime

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        self.logits = self._runtime(images)
        return self.logits


class _Share:
    """Every n-th image of a data set; a signal ends the reading of it.

    Attributes:
        mask: Of the last image.
    """

    def __init__(self, dataset: Dataset, world: World, stop: StopSignal) -> None:
        self.labels = dataset.labels
        self._dataset, self._stop = dataset, stop
        self._indices = range(world.rank, len(dataset), world.size)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        if self._stop.code:
            raise _Stopped
        sample = self._dataset[self._indices[index]]
        self.mask = sample.mask
        return sample
