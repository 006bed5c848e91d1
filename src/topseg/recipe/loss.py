"""The sections of what a model learns from: the terms of the loss, and a teacher."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.data.frequency import Rule

Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]


def _kind(value: Any) -> str:
    return "rule" if isinstance(value, str) else "numbers"


ClassWeights = Annotated[
    Annotated[tuple[Positive, ...], Tag("numbers")] | Annotated[Rule, Tag("rule")],
    Discriminator(_kind),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossEntropyConfig:
    """Cross-entropy."""

    name: Literal["cross_entropy"] = "cross_entropy"
    weight: Positive = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """One factor a class; or a rule to count them by: median_frequency, sqrt_median_frequency,
    inverse_log ('topseg weights DATA' prints them); null: all equal."""
    mean_over: Literal["labelled", "all"] = "labelled"
    """Pixels that the mean runs over: those with a class, each as much as it weighs (PaddleSeg), or
    'all' of them, so that sparsely labelled batches count less (official code)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the true class's 1 that is spread over all classes."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OhemConfig:
    """Cross-entropy of the hard pixels alone (online hard example mining)."""

    name: Literal["ohem"] = "ohem"
    weight: Positive = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """As for cross_entropy."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of all pixels that counts, the hardest; null: by threshold."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Pixels count whose true class has a smaller probability,"""
    min_kept: Annotated[int, Field(ge=1)] = 100_000
    """and at least so many an image on average, the hardest."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FocalConfig:
    """Focal loss: pixels count less, the surer the model is of their class."""

    name: Literal["focal"] = "focal"
    weight: Positive = 1.0
    """Factor of this term in the sum."""
    class_weights: ClassWeights | None = None
    """As for cross_entropy."""
    gamma: Factor = 2.0
    """How fast sure pixels lose their weight; 0 is cross-entropy."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DiceConfig:
    """Dice loss: one minus the overlap, the mean over classes."""

    name: Literal["dice"] = "dice"
    weight: Positive = 1.0
    """Factor of this term in the sum."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LovaszConfig:
    """Lovász-softmax: a convex surrogate of one minus the mean IoU."""

    name: Literal["lovasz"] = "lovasz"
    weight: Positive = 1.0
    """Factor of this term in the sum."""


LossConfig = Annotated[
    CrossEntropyConfig | OhemConfig | FocalConfig | DiceConfig | LovaszConfig,
    Field(discriminator="name"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DistillConfig:
    """Learning from the logits of a larger model, beside the labels."""

    teacher: str | None = None
    """MODEL with the same classes in the same order; null: no teacher."""
    channel_wise: Factor = 3.0
    """Factor of the channel-wise divergence (CWD): where in an image each class is."""
    soft_targets: Factor = 0.0
    """Factor of the divergence of the class probabilities at each place."""
    temperature: Positive = 4.0
    """What the logits of both are divided by."""
    cache: str | None = None
    """Folder to keep the teacher's logits in, by the images they belong to; it pays off where the
    same batches come again, as in runs of the same seed; null: none."""
