"""Loader: batches by step, made ahead of time by other processes.

The batch of a step is a function of (seed, step) alone and one worker makes the whole of it; so the
batches are the same for any number of workers, and resuming needs no state. Pixels stay bytes until
they are on the device.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterator
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
from topseg.training.distributed import World

WAIT = 2.0
"""Seconds between looks at a signal while no batch comes."""


class StoppedError(InputError):
    """A signal asked to stop while the loader was waited for."""


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
        """Make the batch of a step, or return the error that the trainer shall raise.

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
        images = torch.from_numpy(np.stack([sample.image for sample in samples]))
        truth = np.stack([sample.mask for sample in samples])
        masks = torch.from_numpy(truth if truth.dtype == np.uint8 else truth.astype(np.int32))
        if torch.utils.data.get_worker_info() is not None:
            # Here and not in the queue, which drops a batch that does not fit without an error.
            try:
                images.share_memory_()  # type: ignore[no-untyped-call]
                masks.share_memory_()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                return _no_memory(error)
        return TensorBatch(images, masks, [sample.name for sample in samples])

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


def load_batches(
    batches: StepBatches, steps: range, pin: bool, stopping: Callable[[], bool] = lambda: False
) -> Generator[TensorBatch]:
    """Yield the batches of some steps, in order.

    Args:
        batches: All batches of the run.
        steps: Which.
        pin: Put them in memory that a GPU copies from without waiting.
        stopping: Whether a signal asked to stop; looked at while no batch comes.

    Raises:
        InputError: An image or mask cannot be used, or a loader process is gone.
        StoppedError: A signal came while no batch did.
    """
    processes = batches.recipe.train.workers
    others = set(multiprocessing.active_children())
    loader = torch.utils.data.DataLoader(
        batches,
        batch_size=None,  # an item is a batch already
        sampler=cast(torch.utils.data.Sampler[int], steps),
        num_workers=processes,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        pin_memory=pin,
        timeout=WAIT if processes else 0,
    )
    stream = iter(loader)
    workers = set(multiprocessing.active_children()) - others
    try:
        while (batch := _next(stream, stopping)) is not None:
            if isinstance(batch, InputError):
                raise batch
            yield batch
    finally:
        # A worker may hang in a read for ever, and ignores the signals that its parent handles.
        with _unwatched():
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.join(timeout=1)  # the kernel may hold one that reads from a lost mount
            del stream


@contextlib.contextmanager
def _unwatched() -> Iterator[None]:
    """Keep torch, which watches its workers, from raising where they are ended on purpose."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "SIGCHLD"):
        yield
        return
    watcher = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, watcher or signal.SIG_DFL)


def _next(
    stream: Iterator[TensorBatch | InputError], stopping: Callable[[], bool]
) -> TensorBatch | InputError | None:
    """Wait for the next batch; None: there are no more."""
    while True:
        try:
            return next(stream, None)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if reason.startswith("DataLoader timed out"):
                if stopping():
                    raise StoppedError("train: stopped while waiting for images") from None
            elif reason.startswith("DataLoader worker"):
                return _no_memory(error)
            else:
                raise


def _no_memory(error: RuntimeError) -> InputError:
    """Explain a batch that did not fit, or a loader process that was ended for its memory."""
    reason = str(error).partition("\n")[0]
    return InputError(
        f"train.workers: a loader process could not hand over its batch ({reason}); memory or "
        "shared memory (/dev/shm) is full: give more to the container (docker run --shm-size=1g), "
        "or lower train.workers (0 needs no shared memory)"
    )


def check_batches(recipe: Recipe, dataset: Dataset, world: World) -> None:
    """Check before the first step that the batches to come can be made and trained on.

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
