"""Cropping: one window of every sample, padded where the image is smaller (PaddleSeg's rule)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.geometry import Size
from topseg.core.labels import Mask
from topseg.core.ranges import Byte, Natural, Probability, Share
from topseg.data.sample import Sample
from topseg.data.transforms.transform import Rng, Transform


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PadCrop:
    """Pad at the bottom and the right to at least the crop's size, then cut a window out.

    Padded pixels belong to no class. The reference pads its float image with 127.5, which its
    distortion truncates; bytes are padded with 127.
    """

    name: Literal["pad_crop"] = "pad_crop"
    size: tuple[Natural, Natural] | None = None
    """Height and width in pixels; null: ``train.crop``."""
    fill: Byte | tuple[Byte, ...] = 127
    """Value of padded pixels, or one a channel."""
    category_max_ratio: Share = 1.0
    """Draw again (up to ten times in all) while one class covers this share of the window's
    labelled pixels or more; 1: never."""
    class_balance: Probability = 0.0
    """How often the window is laid around a pixel of a class that is drawn evenly from the image's
    classes, so that rare ones are seen more; 0: never."""

    def draw(self, sample: Sample, rng: Rng) -> tuple[int, int]:
        """Draw the window's top left corner."""
        height, width = self._size()
        rows = max(sample.mask.shape[0] - height, 0)
        columns = max(sample.mask.shape[1] - width, 0)
        if self.class_balance and rng.random() < self.class_balance:
            y, x = _pixel_of_a_class(sample.mask, rng)
            top, left = y - int(rng.integers(height)), x - int(rng.integers(width))
            return min(max(top, 0), rows), min(max(left, 0), columns)
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


def sized(transforms: Sequence[Transform], crop: Size) -> tuple[Transform, ...]:
    """Return every ``pad_crop`` that has no size of its own the training crop's (height, width)."""
    return tuple(
        dataclasses.replace(t, size=t.size or crop) if isinstance(t, PadCrop) else t
        for t in transforms
    )


def _padded(array: NDArray[Any], size: Size, fill: int | tuple[int, ...]) -> NDArray[Any]:
    """Pad an image or a mask at the bottom and the right."""
    (height, width), (h, w) = size, array.shape[:2]
    padded = np.empty((height, width, *array.shape[2:]), array.dtype)
    padded[:h, :w] = array
    padded[h:] = fill
    padded[:h, w:] = fill
    return padded


def _pixel_of_a_class(mask: Mask, rng: Rng) -> tuple[int, int]:
    """Draw one of the classes that are there, and one of its pixels (any where there is none)."""
    counts = np.bincount(mask.ravel(), minlength=int(np.iinfo(mask.dtype).max) + 1)
    classes = counts[:-1].nonzero()[0]
    if not classes.size:
        return int(rng.integers(mask.shape[0])), int(rng.integers(mask.shape[1]))
    drawn = int(rng.choice(classes))
    place = np.flatnonzero(mask == drawn)[int(rng.integers(counts[drawn]))]
    row, column = divmod(int(place), mask.shape[1])
    return row, column


def _largest_share(mask: Mask) -> float:
    """Return the share of the commonest class in the labelled pixels; 1 where there are none."""
    counts = np.bincount(mask.ravel(), minlength=int(np.iinfo(mask.dtype).max) + 1)[:-1]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0
