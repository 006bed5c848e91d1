"""Batches: a function of the step, in any process."""

import contextlib
import multiprocessing
import pickle
from collections.abc import Callable

import torch

from topseg.data.dataset import open_dataset
from topseg.recipe import Recipe
from topseg.train.distributed import World
from topseg.train.loader import StepBatches, TensorBatch, load_batches

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
        with contextlib.closing(load_batches(ours, start=5, pin=False)) as stream:
            assert equal(next(stream), ours[5])
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_workers_keep_the_order(make_recipe: MakeRecipe) -> None:
    ours = batches(make_recipe(train={"workers": 2}))
    for step, batch in enumerate(load_batches(ours, start=3, pin=False), start=3):
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
