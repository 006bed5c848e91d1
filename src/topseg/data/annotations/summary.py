"""Summary: what a conversion has written, and what it has left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import LabelSet
from topseg.data.annotations.record import Done

_SHOWN: Final = 10


@dataclass
class Summary:
    """The result of a conversion; ``str(summary)`` is for people.

    Attributes:
        labels: The classes.
        problems: (file, reason) of images that were left out.
        images: Images of each split.
        pixels: (K,) pixels of each class.
        images_with: (K,) images that show each class.
        ignored: Pixels without a class.
        left_out: Reason -> regions or pixels that were left out for it.
        first: Reason -> the first image with such.
    """

    labels: LabelSet
    problems: list[tuple[str, str]] = field(default_factory=list)
    images: Counter[str] = field(default_factory=Counter)
    pixels: NDArray[np.int64] = field(init=False)
    images_with: NDArray[np.int64] = field(init=False)
    ignored: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pixels = np.zeros(self.labels.num_classes, np.int64)
        self.images_with = np.zeros(self.labels.num_classes, np.int64)

    def add(self, done: Done) -> None:
        """Count one image."""
        self.images[done.split] += 1
        counts = np.array(done.pixels, np.int64)
        self.pixels += counts
        self.images_with += counts > 0
        self.ignored += done.ignored
        self.left_out.update(done.left_out)
        for reason in done.left_out:
            self.first.setdefault(reason, done.name)

    def text(self) -> str:
        """Write it for people."""
        return "\n".join(self._lines())

    def __str__(self) -> str:
        return self.text()

    def _lines(self) -> Iterator[str]:
        if self.images:
            yield ", ".join(f"{split}: {count} images" for split, count in self.images.items())
            yield from self._classes()
        if self.left_out:
            yield "left out"
        for reason, count in self.left_out.most_common(_SHOWN):
            yield f"  {count:,} {reason} (the first in {self.first[reason]})"
        if len(self.left_out) > _SHOWN:
            yield f"  ... and {len(self.left_out) - _SHOWN:,} more kinds"
        if self.problems:
            yield f"images and files left out: {len(self.problems):,}"
        for name, reason in self.problems[:_SHOWN]:
            yield f"  {reason}" if name in reason else f"  {name}: {reason}"
        if len(self.problems) > _SHOWN:
            yield f"  ... and {len(self.problems) - _SHOWN:,} more"

    def _classes(self) -> Iterator[str]:
        total = max(1, int(self.pixels.sum()) + self.ignored)
        width = max(5, *(len(name) for name in self.labels.names))
        yield f"  {'class':{width}}  {'pixels':>15}  {'share':>8}  {'images':>8}"
        for name, pixels, images in zip(
            self.labels.names, self.pixels, self.images_with, strict=True
        ):
            yield f"  {name:{width}}  {pixels:15,}  {pixels / total:8.2%}  {images:8,}"
        yield f"  {'-':{width}}  {self.ignored:15,}  {self.ignored / total:8.2%}  (no class)"
