"""Statistics: what the images and masks of a split hold, counted while they are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import Size
from topseg.core.labels import LabelSet, Mask
from topseg.data.frequency import Frequency
from topseg.media.histogram import count_values
from topseg.media.parts import SIZES, count_parts, find_parts, size_of


@dataclass(frozen=True)
class MaskCounts:
    """What one mask holds.

    Attributes:
        pixels: (K,) pixels of each class, int64.
        ignored: Pixels without a class.
        objects: (K, sizes) connected parts of each class, by the sizes of ``SIZES``, int64.
    """

    pixels: NDArray[np.int64]
    ignored: int
    objects: NDArray[np.int64]


def count_mask(mask: Mask, labels: LabelSet) -> MaskCounts:
    """Count a mask's pixels and objects.

    Args:
        mask: (H, W) class indices.
        labels: The classes.
    """
    pixels = count_values(mask, labels.num_classes)
    objects = np.zeros((labels.num_classes, len(SIZES)), np.int64)
    for index in np.flatnonzero(pixels).tolist():
        count, parts, _ = find_parts(mask, index)
        objects[index] = np.bincount(size_of(count_parts(parts, count)), minlength=len(SIZES))
    return MaskCounts(pixels, int(mask.size - pixels.sum()), objects)


@dataclass
class SplitCounts:
    """What a split holds.

    Attributes:
        images: Its pairs.
        pixels: (K,) pixels of each class, int64.
        images_with: (K,) images that show each class, int64.
        around: (K,) labelled pixels of the images that show each class, int64.
        objects: (K, sizes) connected parts of each class, by the sizes of ``SIZES``, int64.
        ignored: Pixels without a class.
        sizes: (height, width) -> readable images of that size.
        fit: How far the masks' contours usually stand out on their images' edges, in deviations.
    """

    images: int
    pixels: NDArray[np.int64]
    images_with: NDArray[np.int64]
    around: NDArray[np.int64]
    objects: NDArray[np.int64]
    ignored: int = 0
    sizes: Counter[Size] = field(default_factory=Counter)
    fit: float | None = None

    @classmethod
    def empty(cls, images: int, num_classes: int) -> SplitCounts:
        """Return the counts of a split of which nothing was read."""
        pixels, images_with, around = np.zeros((3, num_classes), np.int64)
        return cls(images, pixels, images_with, around, np.zeros((num_classes, len(SIZES)), int))

    @property
    def smallest(self) -> Size | None:
        """The smallest image's (height, width), by area; None where none was read."""
        return min(self.sizes, key=_area, default=None)

    @property
    def largest(self) -> Size | None:
        """The largest image's (height, width)."""
        return max(self.sizes, key=_area, default=None)

    @property
    def usual(self) -> Size | None:
        """The medians of heights and of widths."""
        if not self.sizes:
            return None
        table, counts = np.array([*self.sizes]), np.array([*self.sizes.values()])
        order = np.argsort(table, axis=0, kind="stable")
        below = counts[order].cumsum(axis=0)
        at = (below >= below[-1] / 2).argmax(axis=0)
        height, width = (int(table[order[i, side], side]) for side, i in enumerate(at.tolist()))
        return height, width

    @property
    def frequency(self) -> Frequency:
        """How often the classes occur, as class weights are made of it."""
        return Frequency(tuple(self.pixels.tolist()), tuple(self.around.tolist()))

    def add(self, mask: MaskCounts) -> None:
        """Count one mask."""
        there = mask.pixels > 0
        self.pixels += mask.pixels
        self.images_with += there
        self.around += np.where(there, mask.pixels.sum(), 0)
        self.objects += mask.objects
        self.ignored += mask.ignored

    def to_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return plain values for JSON.

        Args:
            names: Of the classes.
        """
        rows = zip(names, self.pixels, self.images_with, self.objects, strict=True)
        sizes = sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))
        return {
            "images": self.images,
            "sizes": [{"size": list(size), "images": count} for size, count in sizes],
            "ignored": self.ignored,
            "fit": self.fit,
            "classes": [
                {
                    "name": name,
                    "pixels": int(pixels),
                    "images": int(images),
                    "objects": dict(zip(SIZES, objects.tolist(), strict=True)),
                }
                for name, pixels, images, objects in rows
            ],
        }


def _area(size: Size) -> int:
    return size[0] * size[1]
