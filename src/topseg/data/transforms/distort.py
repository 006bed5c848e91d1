"""Distortion: random changes of colour, by the rules of the two recipes of TopFormer.

``distort`` is PaddleSeg's ``RandomDistort``, ``photometric`` mmsegmentation's
``PhotoMetricDistortion``; where arithmetic differs, the class says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.ranges import Probability
from topseg.data.sample import Sample
from topseg.data.transforms.colors import CHANGES
from topseg.data.transforms.transform import Rng

Change = tuple[str, float]
"""A change of colour and its amount: ("brightness", 1.2), ("hue", -7.5)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Distort:
    """Change brightness, contrast, saturation and hue, in random order, each with its probability.

    A factor is drawn from 1 - amount to 1 + amount and blends the image with black (brightness),
    its mean grey (contrast) or its own grey (saturation). Hue is turned by up to ``hue`` / 256 of
    the circle. The reference truncates the turned hue towards zero before it wraps, which is
    undefined below zero; here it is rounded down, on a whole circle. Images of other than three
    channels have no saturation and no hue to change.
    """

    name: Literal["distort"] = "distort"
    brightness: Probability = 0.4
    """Largest change of the brightness factor."""
    brightness_prob: Probability = 0.5
    """How often brightness changes."""
    contrast: Probability = 0.4
    """Largest change of the contrast factor."""
    contrast_prob: Probability = 0.5
    """How often contrast changes."""
    saturation: Probability = 0.4
    """Largest change of the saturation factor."""
    saturation_prob: Probability = 0.5
    """How often saturation changes."""
    hue: Annotated[float, Field(ge=0, le=128)] = 18
    """Largest turn of hue, in 1/256 of the circle (18 = 25 degrees)."""
    hue_prob: Probability = 0.5
    """How often hue changes."""

    def draw(self, rng: Rng) -> list[Change]:
        """Draw which changes happen, in which order and by how much."""
        ranges = {
            "brightness": (1 - self.brightness, 1 + self.brightness, self.brightness_prob),
            "contrast": (1 - self.contrast, 1 + self.contrast, self.contrast_prob),
            "saturation": (1 - self.saturation, 1 + self.saturation, self.saturation_prob),
            "hue": (-self.hue, self.hue, self.hue_prob),
        }
        changes = []
        for kind in rng.permutation(list(ranges)).tolist():
            low, high, prob = ranges[kind]
            if rng.random() < prob:
                changes.append((kind, float(rng.uniform(low, high))))
        return changes

    def apply(self, sample: Sample, changes: Sequence[Change]) -> Sample:
        """Make the changes in their order."""
        return changed(sample, changes)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Make drawn changes."""
        return self.apply(sample, self.draw(rng))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Photometric:
    """Change brightness, contrast, saturation and hue as mmsegmentation's PhotoMetricDistortion.

    Brightness is added, contrast multiplies every value, saturation and hue act in HSV; each
    happens with ``prob``, contrast before or after the two, equally likely.
    """

    name: Literal["photometric"] = "photometric"
    brightness: Annotated[float, Field(ge=0, le=255)] = 32
    """Largest value added to or taken from every channel, of 255."""
    contrast: Probability = 0.5
    """Largest change of the contrast factor."""
    saturation: Probability = 0.5
    """Largest change of the saturation factor."""
    hue: Annotated[float, Field(ge=0, le=90)] = 18
    """Largest turn of hue in OpenCV's units of two degrees."""
    prob: Probability = 0.5
    """How often each of the four happens."""

    def draw(self, rng: Rng) -> list[Change]:
        """Draw which changes happen, in which order and by how much."""
        amounts = {
            "add": rng.uniform(-self.brightness, self.brightness),
            "brightness": rng.uniform(1 - self.contrast, 1 + self.contrast),  # times a factor
            "hsv_saturation": rng.uniform(1 - self.saturation, 1 + self.saturation),
            "hue": rng.uniform(-self.hue, self.hue) * 256 / 180,
        }
        happens = rng.random(4) < self.prob
        changes = [(kind, float(amounts[kind])) for kind in np.array([*amounts])[happens]]
        if rng.random() < 0.5:  # contrast last
            changes.sort(key=lambda change: change[0] == "brightness")
        return changes

    def apply(self, sample: Sample, changes: Sequence[Change]) -> Sample:
        """Make the changes in their order."""
        return changed(sample, changes)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Make drawn changes."""
        return self.apply(sample, self.draw(rng))


def changed(sample: Sample, changes: Sequence[Change]) -> Sample:
    """Make changes of colour, one after another."""
    image = sample.image
    for kind, amount in changes:
        image = CHANGES[kind](image, amount)
    return Sample(image, sample.mask, sample.name)
