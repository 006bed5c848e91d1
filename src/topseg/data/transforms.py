"""Transforms: random changes of a training sample, on bytes, by OpenCV.

A transform is its own recipe entry: a frozen dataclass that is called with ``(sample, rng)``. What
is drawn (``draw``) is apart from what is done with it (``apply``), so a sample can be replayed.
Distributions follow the reference, PaddleSeg ``transforms.py`` (``step_scale``, ``pad_crop``,
``flip``, ``distort``), and the official TopFormer recipe on mmsegmentation (``random_scale``,
``photometric``); where arithmetic differs, the class says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import Mask
from topseg.data.colors import CHANGES
from topseg.data.sample import Sample

Rng = np.random.Generator
Probability = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Pixels = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]


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

    def factors(self) -> NDArray[np.float64]:
        """Give every factor, from the smallest to the largest."""
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
    short_side: Pixels | None = None
    """Length in pixels that factor 1 brings the shorter side to; null: the image's own."""
    max_long_side: Pixels | None = None
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
    size: tuple[Pixels, Pixels]
    """Height and width in pixels."""

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Resize a sample; draws nothing."""
        return resized(sample, self.size)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PadCrop:
    """Pad at the bottom and the right to at least the crop's size, then cut a window out.

    Padded pixels belong to no class. The reference pads its float image with 127.5, which its
    distortion truncates; bytes are padded with 127.
    """

    name: Literal["pad_crop"] = "pad_crop"
    size: tuple[Pixels, Pixels] | None = None
    """Height and width in pixels; null: ``train.crop``."""
    fill: Byte | tuple[Byte, ...] = 127
    """Value of padded pixels, or one a channel."""
    category_max_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw again (up to ten times in all) while one class covers this share of the window's
    labelled pixels or more; 1: never."""

    def draw(self, sample: Sample, rng: Rng) -> tuple[int, int]:
        """Draw the window's top left corner."""
        height, width = self._size()
        rows = max(sample.mask.shape[0] - height, 0)
        columns = max(sample.mask.shape[1] - width, 0)
        for _ in range(10):
            top, left = int(rng.integers(rows + 1)), int(rng.integers(columns + 1))
            window = sample.mask[top : top + height, left : left + width]
            if self.category_max_ratio == 1 or _largest_share(window) < self.category_max_ratio:
                break
        return top, left

    def apply(self, sample: Sample, corner: tuple[int, int]) -> Sample:
        """Pad a sample and cut the window out."""
        height, width = self._size()
        if sample.mask.shape == (height, width):
            return sample
        top, left = corner
        window = np.s_[top : top + height, left : left + width]
        image, mask = sample.image[window], sample.mask[window]
        if mask.shape != (height, width):
            image = _padded(image, (height, width), self.fill)
            mask = _padded(mask, (height, width), np.iinfo(mask.dtype).max)
        return Sample(image, mask, sample.name)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Cut a drawn window out of a sample."""
        return self.apply(sample, self.draw(sample, rng))

    def _size(self) -> Size:
        assert self.size is not None, "sized() gives pad_crop its size"
        return self.size


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
    brightness: Amount = 0.4
    """Largest change of the brightness factor."""
    brightness_prob: Probability = 0.5
    """How often brightness changes."""
    contrast: Amount = 0.4
    """Largest change of the contrast factor."""
    contrast_prob: Probability = 0.5
    """How often contrast changes."""
    saturation: Amount = 0.4
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
    contrast: Amount = 0.5
    """Largest change of the contrast factor."""
    saturation: Amount = 0.5
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


Transform = Annotated[
    StepScale | RandomScale | Resize | PadCrop | Flip | Distort | Photometric,
    Field(discriminator="name"),
]


def sized(transforms: Sequence[Transform], crop: Size) -> tuple[Transform, ...]:
    """Give every ``pad_crop`` that has no size of its own the training crop's (height, width)."""
    return tuple(
        dataclasses.replace(t, size=t.size or crop) if isinstance(t, PadCrop) else t
        for t in transforms
    )


def resized(sample: Sample, size: Size) -> Sample:
    """Resize a sample to (height, width): the image bilinearly, the mask by nearest pixel.

    Values between two bytes are truncated, as the reference's are when its distortion begins.
    """
    height, width = max(1, size[0]), max(1, size[1])
    if sample.mask.shape == (height, width):
        return sample
    exact = sample.image.astype(np.float32)
    image = cv2.resize(exact, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    mask = cv2.resize(sample.mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return Sample(image.reshape(height, width, -1), mask, sample.name)


def changed(sample: Sample, changes: Sequence[Change]) -> Sample:
    """Make changes of colour, one after another."""
    image = sample.image
    for kind, amount in changes:
        image = CHANGES[kind](image, amount)
    return Sample(image, sample.mask, sample.name)


def _check_order(name: str, low: float, high: float) -> None:
    if low > high:
        raise InputError(f"train.augment: {name}.min: got {low}, expected at most max ({high})")


def _padded(array: NDArray[Any], size: Size, fill: int | tuple[int, ...]) -> NDArray[Any]:
    """Pad an image or a mask at the bottom and the right."""
    (height, width), (h, w) = size, array.shape[:2]
    if isinstance(fill, tuple) and len(fill) != array.shape[2]:
        raise InputError(
            f"train.augment: pad_crop.fill: got {len(fill)} values, expected one, or one for each "
            f"of the {array.shape[2]} channels"
        )
    padded = np.empty((height, width, *array.shape[2:]), array.dtype)
    padded[:h, :w] = array
    padded[h:] = fill
    padded[:h, w:] = fill
    return padded


def _largest_share(mask: Mask) -> float:
    """Share of the commonest class among the labelled pixels (1 where there is no other)."""
    counts = np.bincount(mask.ravel(), minlength=int(np.iinfo(mask.dtype).max) + 1)[:-1]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0
