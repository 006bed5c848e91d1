"""Noise: what a sensor adds in the dark."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Factor
from topseg.data.sample import Sample
from topseg.data.transforms import Rng


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Noise:
    """Add normal noise to every value."""

    name: str = "noise"
    amount: Factor = 5.0
    """Standard deviation of the noise, of 255."""

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Add drawn noise to a sample's image."""
        noise = rng.normal(0, self.amount, sample.image.shape)
        image = (sample.image + noise).round().clip(0, 255).astype(np.uint8)
        return Sample(image, sample.mask, sample.name)
