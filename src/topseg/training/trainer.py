"""Trainer: from a recipe to a run folder, one step after another.

A step in the order of the data: batch(seed, step) -> labelled pixels of the global batch -> forward
-> loss sums / those pixels -> backward, part by part -> gradients added over processes -> clip ->
optimizer -> average. Everything random is a function of (seed, step) and everything else is in the
checkpoint: a run that was stopped and resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from topseg.bundle.metadata import Metadata
from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.paths import without_paths
from topseg.core.stop import StopSignal
from topseg.data.dataset import Dataset, open_dataset
from topseg.data.preflight import read_masks_first
from topseg.models.normalize import Normalize
from topseg.recipe import Recipe, num_classes_of
from topseg.training.best import keep_weights, ranked
from topseg.training.checkpoint import (
    Checkpoint,
    discard,
    load_checkpoint,
    prune,
    save_checkpoint,
)
from topseg.training.determinism import determinism
from topseg.training.distributed import World, join_world
from topseg.training.loader import (
    StepBatches,
    StoppedError,
    TensorBatch,
    check_batches,
    load_batches,
)
from topseg.training.log import Log
from topseg.training.memory import keep_freed_memory
from topseg.training.meter import Meter
from topseg.training.objective import Objective, make_objective
from topseg.training.optim import set_lr
from topseg.training.outlook import Outlook, describe_run
from topseg.training.run import (
    check_data,
    compare_environments,
    describe_data,
    describe_environment,
    hold_run,
    open_run,
)
from topseg.training.schedule import learning_rate
from topseg.training.state import TrainState, seed_torch
from topseg.training.trackers import Callback, find_trackers
from topseg.training.validation import draw_samples, validate

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    trackers: Sequence[str | Callback] = (),
) -> int:
    """Train a model by a recipe.

    Several processes started by ``torchrun`` train as one; ``train.batch_size`` counts over all.

    Args:
        recipe: What to train.
        out: The run folder.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        resume: Go on with the run in ``out`` from its newest good checkpoint.
        trackers: What receives all that is logged: "tensorboard", "wandb", "mlflow", or a callback.

    Returns:
        0 when all steps are done, now or before; 128 plus the signal's number (130 after Ctrl-C,
        143 after SIGTERM) when a signal stopped it with a checkpoint.

    Raises:
        InputError: Something in the recipe, the data or the folder cannot be used, or a loss that
            is not finite (the steps before it are saved).
    """
    makers = find_trackers(trackers)
    with (
        join_world(device) as world,
        StopSignal() as stop,
        determinism(recipe.train.deterministic),
        contextlib.ExitStack() as held,
    ):
        parts = prepare(recipe, world)
        state = parts.state
        checkpoint: Checkpoint | None = None

        def open_folder() -> Path | None:
            nonlocal checkpoint
            held.enter_context(hold_run(out, resume, print))
            folder, checkpoint = open_run(out, recipe, resume, print)
            return folder

        folder = world.first(open_folder)
        notes = {"data": describe_data(parts.data), "environment": describe_environment(world)}
        size = 0
        if folder is not None:
            checkpoint = checkpoint or load_checkpoint(folder)  # the first process has it
            check_data(checkpoint.state.data, notes["data"])
            state.restore(checkpoint)
            size = checkpoint.state.log_bytes
        receivers = [make(out, state.step, to_tree(recipe)) for make in makers if world.main]
        with Log(out, state.step, recipe.train.steps, size, world.main, receivers) as log:
            if checkpoint is not None and state.evaluated == recipe.train.steps:
                log.say(f"{out}: already finished; raise train.steps to continue")
            elif checkpoint is not None:
                log.say(f"{out}: continuing after step {state.step}")
                compare_environments(checkpoint.state.environment, notes["environment"], log.say)
            if state.step < recipe.train.steps:
                log.say(describe_run(recipe, parts.data, parts.val, state, world))
            return Trainer(recipe, out, world, parts, log, notes).run(stop)


@dataclass(frozen=True)
class Parts:
    """What a recipe names, opened and built."""

    data: Dataset
    val: Dataset
    objective: Objective
    state: TrainState


def prepare(recipe: Recipe, world: World) -> Parts:
    """Open the data and build the network, the objective and the optimizer; write nothing.

    On a CPU, the process keeps freed memory from then on.

    Raises:
        InputError: Something in the recipe or the data cannot be used.
    """
    if world.device.type == "cpu":
        keep_freed_memory()
    data, val = (
        open_dataset(
            recipe.data, split, channels=recipe.model.in_channels, scale=recipe.input.scale
        )
        for split in ("train", "val")
    )
    num_classes = num_classes_of(recipe, data.labels.num_classes)
    world.first(lambda: read_masks_first(recipe.data, data, val))
    check_batches(recipe, data, world)
    objective = make_objective(recipe, data.labels, world)
    return Parts(data, val, objective, TrainState.create(recipe, num_classes, world))


class Trainer:
    """The loop: steps, and every so often an evaluation and a checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        world: World,
        parts: Parts,
        log: Log,
        notes: Mapping[str, object],
    ) -> None:
        self.recipe, self.out, self.world, self.log, self.notes = recipe, out, world, log, notes
        self.data, self.val, self.objective = parts.data, parts.val, parts.objective
        self.state, learner = parts.state, parts.state.learner
        self.forward = torch.compile(learner) if recipe.train.compile else learner
        self.normalize = Normalize(recipe.input).to(world.device)
        self.saved = self.state.step

    def run(self, stop: StopSignal) -> int:
        """Train until all steps are done or a signal asks to stop; return the exit code."""
        config, state, meter = self.recipe.train, self.state, Meter()
        outlook = Outlook(self.recipe, state.step, math.ceil(len(self.val) / self.world.size))
        pin = self.world.device.type == "cuda"
        batches = StepBatches(self.data, self.recipe, self.world)
        stream = load_batches(batches, range(state.step, config.steps), pin, lambda: stop.code != 0)
        with contextlib.closing(stream):
            while True:
                stopping = self.world.any(stop.code != 0)
                guard = None
                if not stopping and self._due(config.eval_every) and state.evaluated != state.step:
                    if self.saved != state.step:  # an evaluation that fails costs no step
                        guard = self._save()
                    stopping = not self._evaluate(stop)
                patient = config.early_stop is None or state.stale < config.early_stop
                ended = state.step == config.steps or not patient
                due = stopping or ended or self._due(config.save_every)
                if due and self.saved != state.step:
                    self._save()
                if self.world.main and due:
                    prune(self.out, config.keep)
                elif self.world.main and guard is not None:
                    discard(guard)
                if stopping:
                    return self._stopped(stop)
                if ended:
                    best = f", best mIoU {state.top[0][0]:.4f}" if state.top else ""
                    self.log.say(f"{self.out}: {state.step} steps done{best}")
                    return 0
                try:
                    with meter.waiting():
                        batch = next(stream)
                except StoppedError:  # while a loader process hangs in a read
                    if self.world.size > 1:
                        raise
                    if self.saved != state.step:
                        self._save()
                    return self._stopped(stop)
                with meter.working(config.batch_size):
                    lr, norm = self.step(batch)
                if self.world.main and (line := outlook.estimate(state.step, self._evaluate_one)):
                    self.log.say(line)
                if self._due(config.log_every):
                    values = {"loss": math.fsum(state.losses) / len(state.losses), "lr": lr}
                    self.log.step(state.step, values | {"grad_norm": norm} | meter.read())
                    state.losses.clear()

    def _stopped(self, stop: StopSignal) -> int:
        self.log.say(f"stopped after step {self.state.step}; continue with --resume")
        return stop.code or 143

    def _due(self, every: int) -> bool:
        step = self.state.step
        return step > 0 and (step % every == 0 or step == self.recipe.train.steps)

    def step(self, batch: TensorBatch) -> tuple[float, float]:
        """Make one step; return its learning rate and the norm of its gradient.

        Raises:
            InputError: The loss or the gradient is not finite; the steps before are saved.
        """
        recipe, state, world, step = self.recipe, self.state, self.world, self.state.step
        # The rate and the random numbers are functions of the step: a resumed run has the same.
        lr = learning_rate(step, recipe.train.steps, recipe.optim.lr, recipe.schedule)
        set_lr(state.optimizer, lr)
        seed_torch(recipe.seed, step, world.rank)

        # The divisors of the loss are of the whole batch, over all parts and processes.
        images = batch.images.to(world.device, non_blocking=True)
        masks = batch.masks.to(world.device, non_blocking=True)
        counts = world.add(self.objective.count(masks))

        # Forward and backward part by part; gradients add up.
        statistics = [buffer.clone() for buffer in state.learner.buffers()]
        loss = torch.zeros((), dtype=torch.float64, device=world.device)
        parts = [whole.chunk(recipe.train.accumulate) for whole in (images, masks)]
        for part, truth in zip(*parts, strict=True):
            loss += self._backward(part, truth, counts)

        # Add over the processes, then clip what is the gradient of the whole batch.
        world.add(loss)
        world.add_all([p.grad for p in state.learner.parameters() if p.grad is not None])
        state.scaler.unscale_(state.optimizer)
        limit = recipe.optim.clip_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(state.learner.parameters(), limit))

        # A step that is not finite leaves no trace: the statistics go back to what they were.
        # Too large a float16 gradient is no fault: the scaler skips the step and scales less.
        if not (loss.isfinite() and (math.isfinite(norm) or state.scaler.is_enabled())):
            for buffer, before in zip(state.learner.buffers(), statistics, strict=True):
                buffer.copy_(before)
            raise self._diverged(batch.names)

        # Move the weights, then what follows them: statistics and the average.
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad()
        world.average_statistics(state.learner)
        if state.ema is not None:
            state.ema.update(state.model, step)
        state.step += 1
        state.losses.append(loss.item())
        return lr, norm

    def _backward(self, images: Tensor, masks: Tensor, counts: Tensor) -> Tensor:
        """Add a part's gradient; return its share of the loss."""
        dtype = _PRECISIONS[self.recipe.train.precision]
        with torch.autocast(self.world.device.type, dtype, enabled=dtype != torch.float32):
            logits = self.forward(self.normalize(images))
        share = self.objective.share(logits, images, masks, counts)
        self.state.scaler.scale(share).backward()  # type: ignore[no-untyped-call]
        return share.detach()

    def _evaluate(self, stop: StopSignal) -> bool:
        """Evaluate, and keep the weights if they are the best; False: a signal broke it off."""
        state = self.state
        found = validate(
            state.shown, self.metadata(), self.val, self.world, stop, self.log.evaluating
        )
        if found is None:
            return False
        scores, loss = found
        state.evaluated, self.saved = state.step, -1
        self.log.scores(state.step, scores, loss)
        keep = self.recipe.train.keep_best
        state.top = ranked(state.top, scores.miou, state.step, keep)
        state.stale = 0 if state.top and state.top[0][1] == state.step else state.stale + 1
        if self.world.main:
            measured = {"step": state.step, "miou": scores.miou, "accuracy": scores.accuracy}
            metadata = self.metadata(metrics={"val": measured})
            keep_weights(self.out, state.top, state.step, state.shown.state_dict(), metadata, keep)
            for name, picture in draw_samples(
                state.shown, metadata, self.val, self.recipe.train.samples, self.world.device
            ):
                self.log.picture(state.step, name, picture)
        return True

    def _evaluate_one(self) -> None:
        """Predict and draw one validation image, as an evaluation does."""
        shown, where = self.state.shown, self.world.device
        next(draw_samples(shown, self.metadata(), self.val, 1, where), None)

    def _save(self) -> Path | None:
        """Write a checkpoint; return its folder in the first process."""
        folder = None
        log_bytes = self.log.flush()
        if self.world.main:
            checkpoint = self.state.pack(log_bytes=log_bytes, **self.notes)
            weights = "model.safetensors" if self.state.ema is None else "ema.safetensors"
            folder = save_checkpoint(self.out, checkpoint, self.metadata(weights=weights))
        self.saved = self.state.step
        return folder

    def _diverged(self, names: list[str]) -> InputError:
        """Save the steps before the one that failed, and return what failed."""
        step = self.state.step
        batch = ", ".join(name for share in self.world.gather(names) for name in share)
        if step > self.saved:
            self._save()
        return InputError(
            f"train: the loss of step {step + 1} is not finite; batch: {batch}. The {step} steps "
            f"before are saved in {self.out}: look at these images and masks and go on with "
            "--resume, or train into another --out with a lower optim.lr, an optim.clip_norm, or "
            "train.precision fp32"
        )

    def metadata(self, **more: object) -> Metadata:
        """Describe the model; ``more`` are further fields."""
        labels = self.data.labels
        return Metadata(
            architecture=self.recipe.model.architecture(labels.num_classes),
            classes=labels.names,
            palette=labels.palette,
            input=self.recipe.input,
            resize=self.recipe.resize,
            recipe=without_paths(self.recipe),  # a bundle names no paths of this machine
            **more,  # type: ignore[arg-type]
        )
