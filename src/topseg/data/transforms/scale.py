"""Scaling: by drawn factors, or to one size.

``step_scale`` has the distribution of PaddleSeg's ``ResizeStepScaling``, ``random_scale`` that of
mmsegmentation's ``Resize`` with a ratio range (the official TopFormer recipe).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.ranges import Natural, Positive
from topseg.data.sample import Sample
from topseg.data.transforms.transform import Rng


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StepScale:
    """Scale by one of evenly spaced factors, all equally likely."""

    name: Literal["step_scale"] = "step_scale"
    min: Positive = 0.5
    """Smallest factor."""
    max: Positive = 2.0
    """Largest factor."""
    step: Positive = 0.25
    """Distance between factors."""

    def __post_init__(self) -> None:
        _check_order(self.name, self.min, self.max)
        if 0 < self.max - self.min < self.step:
            raise InputError(
                f"train.augment: {self.name}.step: got {self.step}, expected at most max - min "
                f"({self.max - self.min})"
            )

    def factors(self) -> NDArray[np.float64]:
        """Return every factor, from the smallest to the largest."""
        return np.linspace(self.min, self.max, round((self.max - self.min) / self.step) + 1)

    def draw(self, rng: Rng) -> float:
        """Draw the factor."""
        return float(rng.choice(self.factors()))

    def apply(self, sample: Sample, factor: float) -> Sample:
        """Scale a sample."""
        height, width = sample.mask.shape
        return resized(sample, (round(factor * height), round(factor * width)))

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Scale a sample by a drawn factor."""
        return self.apply(sample, self.draw(rng))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RandomScale:
    """Scale by a factor from a continuous range, of the image's own size or of a given one."""

    name: Literal["random_scale"] = "random_scale"
    min: Positive = 0.5
    """Smallest factor."""
    max: Positive = 2.0
    """Largest factor."""
    short_side: Natural | None = None
    """Length in pixels that factor 1 brings the shorter side to; null: the image's own."""
    max_long_side: Natural | None = None
    """Longest the longer side may be at factor 1, where ``short_side`` is given."""

    def __post_init__(self) -> None:
        _check_order(self.name, self.min, self.max)

    def draw(self, rng: Rng) -> float:
        """Draw the factor."""
        return float(rng.uniform(self.min, self.max))

    def apply(self, sample: Sample, factor: float) -> Sample:
        """Scale a sample, keeping its aspect ratio."""
        height, width = sample.mask.shape
        if self.short_side is not None:
            base = self.short_side / min(height, width)
            if self.max_long_side is not None:
                base = min(base, self.max_long_side / max(height, width))
            factor *= base
        return resized(sample, (round(factor * height), round(factor * width)))

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Scale a sample by a drawn factor."""
        return self.apply(sample, self.draw(rng))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Resize:
    """Resize to one size, whatever the aspect ratio."""

    name: Literal["resize"] = "resize"
    size: tuple[Natural, Natural]
    """Height and width in pixels."""

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Resize a sample; draws nothing."""
        return resized(sample, self.size)


def resized(sample: Sample, size: Size) -> Sample:
    """Resize a sample to (height, width): the image bilinearly, the mask by nearest pixel.

    Values between two bytes are truncated, as the reference's are when its distortion begins.
    """
    height, width = max(1, size[0]), max(1, size[1])
    if sample.mask.shape == (height, width):
        return sample
    import cv2

    exact = sample.image.astype(np.float32)
    image = cv2.resize(exact, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    mask = cv2.resize(sample.mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return Sample(image.reshape(height, width, -1), mask, sample.name)


def _check_order(name: str, low: float, high: float) -> None:
    if low > high:
        raise InputError(f"train.augment: {name}.min: got {low}, expected at most max ({high})")
