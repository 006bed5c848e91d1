"""Teacher: a trained model whose logits a smaller one learns from.

It sees the very crops that the student sees. Its logits are rounded to float16, whether they are
kept in a folder or not, so that a run does not depend on what the folder holds.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.core.labels import LabelSet
from topseg.inference.hub import open_model
from topseg.losses.distillation import channel_wise, soft_targets
from topseg.models.normalize import Normalize
from topseg.recipe import ModelConfig
from topseg.recipe.distill import DistillConfig
from topseg.runtimes.torch import open_torch


class Teacher:
    """Measures how far logits are from the teacher's."""

    def __init__(
        self, config: DistillConfig, model: ModelConfig, labels: LabelSet, device: torch.device
    ) -> None:
        """Load the model that ``config.teacher`` names.

        Args:
            config: The recipe's section.
            model: The student.
            labels: Its classes.
            device: Where to compute.

        Raises:
            InputError: There is no such model, or it has other classes or channels.
        """
        assert config.teacher is not None
        self.config, self.device = config, device
        bundle = open_model(config.teacher)
        _check(config.teacher, bundle.metadata, model, labels)
        self._model = open_torch(bundle, device=str(device)).model.eval()
        self._normalize = Normalize(bundle.metadata.input).to(device)
        self._digest = bundle.metadata.files[bundle.metadata.weights].encode()

    def distance(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return the weighted sum of the distances from the teacher's logits.

        Args:
            logits: (B, K, h, w) of the student.
            images: (B, H, W, C) uint8, what it saw.

        Returns:
            The sum over images, float64 scalar with a gradient.
        """
        config, theirs = self.config, self.logits(images)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        if config.channel_wise:
            distance = channel_wise(logits, theirs, config.temperature)
            total = total + config.channel_wise * distance
        if config.soft_targets:
            distance = soft_targets(logits, theirs, config.temperature)
            total = total + config.soft_targets * distance
        return total

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return the teacher's logits: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float16."""
        if self.config.cache is None:
            return self._run(images)
        pixels = images.cpu().contiguous().numpy().tobytes()
        key = hashlib.blake2b(pixels, digest_size=16, key=self._digest).hexdigest()
        path = Path(self.config.cache) / key[:2] / f"{key}.safetensors"
        with contextlib.suppress(FileNotFoundError, SafetensorError):
            return load(path.read_bytes())["logits"].to(self.device)
        logits = self._run(images)
        write_bytes(path, save({"logits": logits.cpu()}))
        return logits

    def _run(self, images: Tensor) -> Tensor:
        logits: Tensor = self._model(self._normalize(images))
        return logits.half().contiguous()


def _check(teacher: str, metadata: Metadata, model: ModelConfig, labels: LabelSet) -> None:
    if metadata.classes != labels.names:
        raise InputError(
            f"distill.teacher: {teacher} has {len(metadata.classes)} classes "
            f"({', '.join(metadata.classes[:3])}, ...), expected the data's {labels.num_classes} "
            "in the same order; train a teacher on this data first"
        )
    if metadata.architecture.in_channels != model.in_channels:
        raise InputError(
            f"distill.teacher: {teacher} takes {metadata.architecture.in_channels} channels, "
            f"expected model.in_channels {model.in_channels}"
        )
