"""TrainState: all that changes while a model is trained, and its form in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from topseg.core.errors import InputError
from topseg.core.terminal import say
from topseg.inference.hub import find_weights
from topseg.interop import load_weights
from topseg.models import set_drop_path
from topseg.recipe import ModelConfig, Recipe
from topseg.training.best import Entry
from topseg.training.checkpoint import STATE, Checkpoint, RunState, Tensors
from topseg.training.distributed import World
from topseg.training.ema import Ema
from topseg.training.learner import Learner
from topseg.training.optim import make_optimizer


@dataclass
class TrainState:
    """All that changes while a model is trained.

    The learning rate, the data and the random numbers are functions of the step, so they have no
    state of their own.

    Attributes:
        learner: The network, and what is trained beside it.
        ema: The network's moving average, where the recipe wants one.
        optimizer: Moments a parameter.
        scaler: Factor that keeps float16 gradients in range.
        step: Steps done.
        evaluated: Step of the last evaluation.
        top: The best evaluations, (mIoU, step), the best first.
        stale: Evaluations since the best one.
        losses: Losses since the last logged step.
    """

    learner: Learner
    ema: Ema | None
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    evaluated: int = 0
    top: list[Entry] = field(default_factory=list)
    stale: int = 0
    losses: list[float] = field(default_factory=list)

    @classmethod
    def create(cls, recipe: Recipe, num_classes: int, world: World) -> TrainState:
        """Start a run: weights from the seed, or from the files that the recipe names.

        Raises:
            InputError: The files do not fit the network.
        """
        config = recipe.model
        seed_torch(recipe.seed)
        model = build_network(config, num_classes)
        reports = {}
        if config.backbone_weights:
            file = find_weights(config.backbone_weights)
            reports[config.backbone_weights] = load_weights(model, file, backbone_only=True)
        if config.weights:
            file, part = find_weights(config.weights), config.allow_partial
            reports[config.weights] = load_weights(model, file, allow_partial=part)
        for name, report in reports.items() if world.main else ():
            say(f"{name}: {report}")
        learner = Learner(model, recipe.train.aux_strides, num_classes)
        if world.size > 1 and world.device.type == "cuda":
            learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call]
        # Images arrive as channels-last bytes; convolutions are a quarter faster that way on a CPU.
        learner = learner.to(world.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        return cls(
            learner,
            Ema(learner.model, recipe.train.ema) if recipe.train.ema is not None else None,
            make_optimizer(learner, recipe.optim),
            torch.amp.GradScaler(world.device.type, enabled=recipe.train.precision == "fp16"),
        )

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.learner.model

    @property
    def shown(self) -> nn.Module:
        """The model to evaluate and keep: the average where there is one."""
        return self.model if self.ema is None else self.ema.model

    def pack(self, **notes: Any) -> Checkpoint:
        """Return the state as a checkpoint; ``notes`` are the other fields of its ``RunState``."""
        tensors: dict[str, Tensors] = {
            name: module.state_dict() for name, module in self._modules().items()
        }
        tensors["optimizer"] = {
            f"{name.removeprefix('model.')}.{key}": value
            for name, parameter in self.learner.named_parameters()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }
        state = RunState(
            step=self.step,
            evaluated=self.evaluated,
            top=tuple(self.top),
            stale=self.stale,
            losses=tuple(self.losses),
            scaler=self.scaler.state_dict(),
            **notes,
        )
        return Checkpoint(tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over the state of a checkpoint.

        Raises:
            InputError: It belongs to another network.
        """
        tensors, state = checkpoint.tensors, checkpoint.state
        for file, module in self._modules().items():
            try:
                module.load_state_dict(tensors.get(file, {}))
            except RuntimeError as error:
                raise InputError(
                    f"checkpoint: {file}.safetensors: does not fit the recipe's network ({error})"
                ) from None
        for name, parameter in self.learner.named_parameters():
            prefix = f"{name.removeprefix('model.')}."
            for key, value in tensors["optimizer"].items():
                if key.startswith(prefix) and "." not in key.removeprefix(prefix):
                    self.optimizer.state[parameter][key.removeprefix(prefix)] = _like(
                        parameter, value
                    )
        try:
            self.scaler.load_state_dict(state.scaler)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"checkpoint: {STATE}: scaler: {error}") from None
        self.step, self.evaluated, self.stale = state.step, state.evaluated, state.stale
        self.top, self.losses = list(state.top), list(state.losses)

    def _modules(self) -> dict[str, nn.Module]:
        """Return what has weights, by the name of its file in a checkpoint."""
        modules = {"model": self.model}
        if self.learner.heads:
            modules["heads"] = self.learner.heads
        if self.ema is not None:
            modules["ema"] = self.ema.model
        return modules


def build_network(config: ModelConfig, num_classes: int) -> nn.Module:
    """Build the network of a recipe with fresh weights."""
    architecture = config.architecture(num_classes)
    network = config.variant.build(num_classes, config.in_channels, architecture.options)
    if config.drop_path:
        set_drop_path(config.variant, network, config.drop_path)
    return network


def seed_torch(seed: int, *place: int) -> None:
    """Seed torch's generators by a function of the seed and of where the run is."""
    torch.manual_seed(int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0]))


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """Put a moment where its parameter is, in the same memory order (fused steps rely on it)."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
