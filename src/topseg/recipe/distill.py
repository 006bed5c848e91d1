"""The section of a teacher to learn from, beside the labels."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.paths import LocalPath, ModelPath
from topseg.core.ranges import Factor, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DistillConfig:
    """Learning from the logits of a larger model, beside the labels."""

    teacher: ModelPath | None = None
    """MODEL with the same classes in the same order; null: no teacher."""
    channel_wise: Factor = 3.0
    """Factor of the channel-wise divergence (CWD): where in an image each class is."""
    soft_targets: Factor = 0.0
    """Factor of the divergence of the class probabilities at each place."""
    temperature: Positive = 4.0
    """What the logits of both are divided by."""
    cache: LocalPath | None = None
    """Folder to keep the teacher's logits in, by the images they belong to; it pays off where the
    same batches come again, as in runs of the same seed; null: none."""
