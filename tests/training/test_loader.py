"""Batches: a function of the step, in any process."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable
from typing import cast

import pytest
import torch

from topseg.core.errors import InputError
from topseg.data.dataset import Dataset, open_dataset
from topseg.data.sample import Sample
from topseg.recipe import Recipe
from topseg.training import loader
from topseg.training.distributed import World
from topseg.training.loader import StepBatches, StoppedError, TensorBatch, load_batches

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")


def batches(recipe: Recipe, rank: int = 0, size: int = 1) -> StepBatches:
    return StepBatches(open_dataset(recipe.data, "train"), recipe, World(rank, size, CPU))


def equal(a: object, b: object) -> bool:
    assert isinstance(a, TensorBatch)
    assert isinstance(b, TensorBatch)
    return a.names == b.names and torch.equal(a.images, b.images) and torch.equal(a.masks, b.masks)


def test_a_batch_is_bytes_by_step(make_recipe: MakeRecipe) -> None:
    ours = batches(make_recipe())
    batch = ours[5]
    assert isinstance(batch, TensorBatch)
    assert (batch.images.dtype, batch.images.shape) == (torch.uint8, (4, 64, 64, 3))
    assert (batch.masks.dtype, batch.masks.shape) == (torch.uint8, (4, 64, 64))
    assert equal(batch, ours[5])
    assert not equal(batch, ours[4])


def test_survives_the_way_to_a_spawned_worker(make_recipe: MakeRecipe) -> None:
    ours = batches(make_recipe())
    assert equal(pickle.loads(pickle.dumps(ours))[2], ours[2])


def test_workers_may_be_spawned(make_recipe: MakeRecipe) -> None:
    """As on Windows and macOS, where a worker inherits nothing."""
    ours = batches(make_recipe(train={"workers": 1}))
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with contextlib.closing(load_batches(ours, range(5, 6), pin=False)) as stream:
            assert equal(next(stream), ours[5])
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_workers_keep_the_order(make_recipe: MakeRecipe) -> None:
    ours = batches(make_recipe(train={"workers": 2}))
    for step, batch in enumerate(load_batches(ours, range(3, 6), pin=False), start=3):
        assert equal(batch, ours[step])
    assert step == 5


def test_processes_share_a_batch(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(train={"accumulate": 2})
    whole = batches(recipe)[1]
    shares = [batches(recipe, rank, 2)[1] for rank in (0, 1)]
    assert isinstance(whole, TensorBatch)
    names = [share.names for share in shares if isinstance(share, TensorBatch)]
    # The first parts of both processes are the first half of the batch.
    assert [names[0][0], names[1][0], names[0][1], names[1][1]] == whole.names


class Stuck:
    """A data set whose images never come, as on a mount that is gone."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Sample:
        time.sleep(3600)
        raise AssertionError


def test_a_signal_ends_the_wait_for_a_read_that_hangs(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "WAIT", 0.1)
    recipe = make_recipe(train={"workers": 2})
    stuck = StepBatches(cast(Dataset, Stuck()), recipe, World(0, 1, CPU))
    before = set(multiprocessing.active_children())
    stream = load_batches(stuck, range(6), pin=False, stopping=lambda: True)
    with pytest.raises(StoppedError, match="stopped while waiting for images"):
        next(stream)
    assert set(multiprocessing.active_children()) == before


def test_a_worker_that_dies_is_told(make_recipe: MakeRecipe) -> None:
    class Dying(Stuck):
        def __getitem__(self, index: int) -> Sample:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is short
            raise AssertionError

    recipe = make_recipe(train={"workers": 1})
    dying = StepBatches(cast(Dataset, Dying()), recipe, World(0, 1, CPU))
    with pytest.raises(InputError, match=r"DataLoader worker.*--shm-size.*lower train.workers"):
        next(load_batches(dying, range(6), pin=False))


def test_shared_memory_that_is_full_is_told(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensor: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # the workers are forked with it
    with pytest.raises(InputError, match=r"unable to allocate shared memory.*--shm-size"):
        next(load_batches(batches(make_recipe(train={"workers": 1})), range(6), pin=False))
