"""Flipping: left and right."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Probability
from topseg.data.sample import Sample
from topseg.data.transforms.transform import Rng


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Flip:
    """Mirror left and right."""

    name: Literal["flip"] = "flip"
    prob: Probability = 0.5
    """How often."""

    def draw(self, rng: Rng) -> bool:
        """Draw whether to mirror."""
        return bool(rng.random() < self.prob)

    def apply(self, sample: Sample, mirror: bool) -> Sample:
        """Mirror a sample, or leave it."""
        if not mirror:
            return sample
        return Sample(sample.image[:, ::-1], sample.mask[:, ::-1], sample.name)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Mirror a sample, or not."""
        return self.apply(sample, self.draw(rng))
