"""Trial: what a recipe costs, found by doing a little of it before the run starts.

Nothing is written into a run folder; the steps are those that the trainer makes.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from topseg.core.errors import InputError
from topseg.core.terminal import duration
from topseg.data.stream import batch_at
from topseg.data.transforms import sized
from topseg.recipe import Recipe
from topseg.training.determinism import determinism
from topseg.training.distributed import join_world
from topseg.training.loader import StepBatches, TensorBatch, load_batches
from topseg.training.log import Log
from topseg.training.meter import peak_memory
from topseg.training.trainer import Trainer, prepare
from topseg.training.validation import draw_samples


def dry_run(recipe: Recipe, device: str = "auto") -> str:
    """Put one batch through every stage and estimate what a run will take.

    Args:
        recipe: What would be trained.
        device: "auto", "cpu" or "cuda".

    Returns:
        Lines for people: data, network, terms of the loss, speed, memory, time.

    Raises:
        InputError: What a run would raise.
    """
    config = recipe.train
    with _open_trial(recipe, device) as trainer, _single_threaded_images():
        start = time.perf_counter()
        batch = StepBatches(trainer.data, recipe, trainer.world)[0]
        if isinstance(batch, InputError):
            raise batch
        load = (time.perf_counter() - start) / len(batch.names)  # seconds an image
        first, step = _time_steps(trainer, batch)
        start, shown = time.perf_counter(), trainer.state.shown
        where = trainer.world.device
        list(draw_samples(shown, trainer.metadata(), trainer.val, 1, where))
        evaluation = (time.perf_counter() - start) * len(trainer.val)
        peak, kept = peak_memory(), _state_bytes(trainer)
        network = sum(p.numel() for p in trainer.state.model.parameters())
        heads = sum(p.numel() for p in trainer.state.learner.heads.parameters())
        losses = _describe_loss(trainer)
    loading = load * config.batch_size / max(1, config.workers)
    pace = max(step, loading) if config.workers else step + loading
    evaluations = math.ceil(config.steps / config.eval_every)
    classes = trainer.data.labels.num_classes
    aux = f", and {heads / 1e6:.2f} M in auxiliary heads" if heads else ""
    rows = [
        ("data", f"{len(trainer.data)} train and {len(trainer.val)} val images, {classes} classes"),
        ("network", f"{recipe.model.name}, {network / 1e6:.2f} M parameters{aux}"),
        *(("loss", line) for line in losses),
        ("teacher", recipe.distill.teacher or "none"),
        ("loader", f"{1 / load:.1f} images/s a worker, {config.workers} workers"),
        ("step", f"{step:.3f} s for {config.batch_size} images on {where} ({first:.1f} s first)"),
        ("bottleneck", _bottleneck(1 / load, config.workers, config.batch_size / step)),
        ("evaluation", f"about {duration(evaluation)} for the val split"),
        ("memory", f"peak {peak / 1e6:.0f} MB, of which {kept / 1e6:.0f} MB weights, gradients, "
         "moments and average"),
        ("whole run", f"about {duration(config.steps * pace + evaluations * evaluation)}: "
         f"{config.steps} steps and {evaluations} evaluations"),
    ]  # fmt: skip
    return "\n".join(f"{name:12}{text}" for name, text in rows)


def bench_data(recipe: Recipe, device: str = "auto", seconds: float = 3.0) -> str:
    """Measure each stage between an image file and a step, and name the bottleneck.

    Args:
        recipe: Its data, augmentation, batch and workers are measured.
        device: Where the step runs: "auto", "cpu" or "cuda".
        seconds: How long to measure the stages, and again the loader.

    Returns:
        A table of milliseconds an image and images/s, and a sentence.

    Raises:
        InputError: What a run would raise.
    """
    config = recipe.train
    with _open_trial(recipe, device) as trainer:
        batches = StepBatches(trainer.data, recipe, trainer.world)
        loader, batch = _time_loader(batches, seconds)
        stages = _time_stages(batches, seconds)
        _, step = _time_steps(trainer, batch)
        where = trainer.world.device
    one = sum(stages.values())
    rows = [*stages.items(), ("one worker", one)]
    rows += [(f"{config.workers} workers, measured", loader)] if config.workers else []
    rows += [(f"step on {where}", step / config.batch_size)]
    lines = [f"{'stage':24}{'ms an image':>12}{'images/s':>12}"]
    lines += [f"{name:24}{1e3 * spent:12.2f}{1 / spent:12.1f}" for name, spent in rows]
    rate = 1 / loader / max(1, config.workers)
    return "\n".join([*lines, "", _bottleneck(rate, config.workers, config.batch_size / step)])


@contextlib.contextmanager
def _open_trial(recipe: Recipe, device: str) -> Iterator[Trainer]:
    """Build all that a run needs, with a folder that vanishes."""
    with (
        join_world(device) as world,
        determinism(recipe.train.deterministic),
        tempfile.TemporaryDirectory() as folder,
        Log(Path(folder), 0, recipe.train.steps, 0, main=False) as log,
    ):
        yield Trainer(recipe, Path(folder), world, prepare(recipe, world), log, {})


@contextlib.contextmanager
def _single_threaded_images() -> Iterator[None]:
    """Read and change images on one thread, as a loader's worker does."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _time_steps(trainer: Trainer, batch: TensorBatch) -> tuple[float, float]:
    """Return the seconds of the first step and of one after it (the faster of two)."""
    clock = [time.perf_counter()]
    for _ in range(3):
        trainer.step(batch)
        clock.append(time.perf_counter())
    first, *later = np.diff(clock).tolist()
    return first, min(later)


def _time_stages(batches: StepBatches, seconds: float) -> dict[str, float]:
    """Return the seconds an image that each stage of a loader's work takes."""
    recipe, dataset = batches.recipe, batches.dataset
    transforms = sized(recipe.train.augment, recipe.train.crop)
    spent: dict[str, float] = defaultdict(float)
    images, clock = 0, time.perf_counter()
    end = clock + seconds

    def took(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        spent[stage] += now - clock
        clock = now

    with _single_threaded_images():
        for step in itertools.takewhile(lambda _: clock < end, itertools.count()):
            samples = []
            for index, seed in batch_at(recipe.seed, step, recipe.train.batch_size, len(dataset)):
                rng = np.random.default_rng(seed)
                sample = dataset[index]
                took("decode image and mask")
                for transform in transforms:
                    sample = transform(sample, rng)
                    took(transform.name)
                samples.append(sample)
            np.stack([s.image for s in samples]), np.stack([s.mask for s in samples])
            took("batch")
            images += len(samples)
    return {stage: total / images for stage, total in spent.items()}


def _time_loader(batches: StepBatches, seconds: float) -> tuple[float, TensorBatch]:
    """Return the seconds an image of the loader with its workers, and its first batch."""
    workers = batches.recipe.train.workers
    endless = range(sys.maxsize)  # however few steps the recipe has
    with contextlib.closing(load_batches(batches, endless, pin=False)) as stream:
        kept = next(stream)
        for _ in itertools.islice(stream, 2 * workers):  # what was read ahead
            pass
        images, start = 0, time.perf_counter()
        for batch in stream:
            images += len(batch.names)
            if time.perf_counter() - start > seconds:
                break
        spent = time.perf_counter() - start
    return spent / images, kept


def _bottleneck(rate: float, workers: int, step: float) -> str:
    """Return what waits for what: images/s of a worker, and of the steps."""
    if not workers:
        return f"loading takes {step / (step + rate):.0%} of the time: train.workers is 0"
    loaded = rate * workers
    if loaded >= step:
        return (
            f"the step: it takes {step:.1f} images/s and {workers} workers give {loaded:.1f}, "
            f"{loaded / step:.1f} times as many"
        )
    return (
        f"the loader: {workers} workers give {loaded:.1f} images/s and the step takes {step:.1f}; "
        f"train.workers={math.ceil(step / rate)} would do, on as many cores"
    )


def _describe_loss(trainer: Trainer) -> Iterator[str]:
    """One line a term: its factor, over what it runs, and what it holds."""
    recipe, classes = trainer.recipe, trainer.data.labels.num_classes
    images = recipe.train.batch_size // (recipe.train.accumulate * trainer.world.size)
    height, width = recipe.train.crop
    size = images * classes * height * width * 4 / 1e6
    for term in trainer.objective.terms:
        over = "over the whole batch"
        if not term.additive:
            over = f"over each part of {images} images by itself"
        holds = "lean"
        if not term.lean:
            holds = f"not lean: holds {images} x {classes} x {height} x {width} values, {size:.0f} "
            holds += "MB, several times"
        yield f"{term.weight:g} x {term.name}, {over}, {holds}"


def _state_bytes(trainer: Trainer) -> int:
    """Bytes of weights, statistics, gradients, moments and the average."""
    state = trainer.state
    tensors = [*state.learner.parameters(), *state.learner.buffers()]
    tensors += list(state.learner.parameters())  # their gradients
    tensors += [t for moments in state.optimizer.state.values() for t in moments.values()]
    if state.ema is not None:
        tensors += [*state.ema.model.parameters(), *state.ema.model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
