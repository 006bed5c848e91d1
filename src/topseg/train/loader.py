"""Loader: batches by step, made ahead of time by other processes.

The batch of a step is a function of (seed, step) alone and one worker makes the whole of it; so the
batches are the same for any number of workers, and resuming needs no state. Pixels stay bytes until
they are on the device.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from topseg.core.errors import InputError
from topseg.core.stop import ignore_signals
from topseg.data.dataset import Dataset
from topseg.data.sample import Sample
from topseg.data.stream import batch_at, share
from topseg.data.transforms import sized
from topseg.recipe import Recipe
from topseg.train.distributed import World


class TensorBatch(NamedTuple):
    """The samples of one step that this process trains on.

    Attributes:
        images: (B, H, W, C) uint8.
        masks: (B, H, W) uint8, or int32 above 255 classes.
        names: B names.
    """

    images: Tensor
    masks: Tensor
    names: list[str]


class StepBatches(torch.utils.data.Dataset[TensorBatch | InputError]):
    """The batches of a run: ``batches[step]``; each process of the world sees its own share.

    The parts that a step is accumulated over lie one after another.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, world: World) -> None:
        self.dataset = dataset
        self.recipe = recipe
        self.augment = sized(recipe.train.augment, recipe.train.crop)
        self.rank, self.size = world.rank, world.size

    def __getitem__(self, step: int) -> TensorBatch | InputError:
        """Make the batch of a step, or give the error that the trainer shall raise.

        (An exception that crosses processes would arrive with the worker's traceback in its text.)
        """
        train = self.recipe.train
        drawn = batch_at(self.recipe.seed, step, train.batch_size, len(self.dataset))
        parts = (
            share(drawn, self.rank, self.size, part, train.accumulate)
            for part in range(train.accumulate)
        )
        try:
            samples = [self._sample(*one) for part in parts for one in part]
        except InputError as error:
            return error
        masks = np.stack([sample.mask for sample in samples])
        return TensorBatch(
            torch.from_numpy(np.stack([sample.image for sample in samples])),
            torch.from_numpy(masks if masks.dtype == np.uint8 else masks.astype(np.int32)),
            [sample.name for sample in samples],
        )

    def _sample(self, index: int, seed: int) -> Sample:
        sample = self.dataset[index]
        rng = np.random.default_rng(seed)
        for transform in self.augment:
            sample = transform(sample, rng)
        crop = self.recipe.train.crop
        if sample.image.shape[:2] != crop:
            raise InputError(
                f"{sample.name}: has size {list(sample.image.shape[:2])} after train.augment, "
                f"expected train.crop {list(crop)}; add {{name: pad_crop}} to train.augment"
            )
        return sample


def load_batches(batches: StepBatches, start: int, pin: bool) -> Generator[TensorBatch]:
    """Give the batches of the steps from ``start`` on, in order.

    Args:
        batches: All batches of the run.
        start: First step.
        pin: Put them in memory that a GPU copies from without waiting.

    Raises:
        InputError: An image or mask cannot be used.
    """
    train = batches.recipe.train
    loader = torch.utils.data.DataLoader(
        batches,
        batch_size=None,  # an item is a batch already
        sampler=cast(torch.utils.data.Sampler[int], range(start, train.steps)),
        num_workers=train.workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        pin_memory=pin,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def check_batches(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """Find before the first step what is wrong with the batches to come.

    Raises:
        InputError: No images, a batch that cannot be shared out, or one that the network cannot be
            trained on.
    """
    train = recipe.train
    if not len(dataset):
        raise InputError("data.train: the split has no images; check its folder or list")
    if train.batch_size % (world.size * train.accumulate):
        raise InputError(
            f"train.batch_size: got {train.batch_size}, expected a multiple of {world.size} "
            f"processes x train.accumulate {train.accumulate}"
        )
    if check := recipe.model.variant.family.check_training:
        images = train.batch_size // (world.size * train.accumulate)
        check(recipe.model.options, train.crop, images)


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # torch already gives a worker one thread; many workers share the cores
    ignore_signals()
