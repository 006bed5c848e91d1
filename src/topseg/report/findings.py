"""Findings: a problem of a data set as a picture, cut out of the image and its mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, Mask
from topseg.data.checking import SPLITS
from topseg.data.classes import mask_reader
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs
from topseg.data.masks import UNKNOWN, MaskReader
from topseg.data.problem import Evidence, Problem
from topseg.media.drawing import Picture, overlay
from topseg.media.images import read_image
from topseg.report.html import BLUE, ORANGE, cell, fit
from topseg.report.pictures import differences, shrink_image, shrink_mask

_LARGEST = 420
"""Longest side of a picture on the page, in pixels."""
_CROP = 96
"""Side in pixels of what is cut out around one place of a mask."""
_RED = (255, 45, 85)
_ALPHA = 0.6


@dataclass(frozen=True)
class Pictures:
    """Reads a data set's files once more, to show what was found in them.

    Attributes:
        labels: The classes.
        readers: The masks of each split, and what reads them.
        channels: Of an image.
        scale: Factor from 16-bit values to 0..255.
    """

    labels: LabelSet
    readers: tuple[tuple[frozenset[Path], MaskReader], ...]
    channels: int = 3
    scale: float | None = None

    @classmethod
    def of(
        cls, config: DataConfig, labels: LabelSet, channels: int = 3, scale: float | None = None
    ) -> Pictures:
        """Open a data set, as far as it can be."""
        readers = []
        for split in SPLITS:
            with contextlib.suppress(InputError):
                pairs = find_pairs(config, split)
                masks = frozenset(pair.mask for pair in pairs.pairs)
                readers.append((masks, mask_reader(config, pairs)))
        return cls(labels, tuple(readers), channels, scale)

    def figure(self, problem: Problem) -> str:
        """Return a ``<figure>`` of a problem; of its text alone where nothing can be shown."""
        seen, cells = problem.evidence, ""
        if seen is not None and self.readers:
            with contextlib.suppress(
                InputError
            ):  # an unreadable file, which the text names already
                cells = "".join(
                    cell(what, picture, f"{what} of {escape(problem.text)}")
                    for what, picture in self._draw(seen)
                )
        row = f'<div class="row two">{cells}</div>' if cells else ""
        return (
            f'<figure class="example">{row}<figcaption>{escape(problem.text)}</figcaption></figure>'
        )

    def _draw(self, seen: Evidence) -> Iterator[tuple[str, Picture]]:
        """Draw what there is to see: the words below each picture, and the picture."""
        if seen.image is None:
            if seen.mask is not None:
                mask = self._mask(seen.mask)
                yield "mask", self._paint(np.zeros((*mask.shape, 3), np.uint8), mask, seen.place)
            return
        image = self._image(seen.image)
        if seen.other is not None:
            yield escape(seen.image.name), _small(image)
            yield escape(seen.other.name), _small(self._image(seen.other))
        elif seen.mask is None:
            yield "image", _small(image)
        elif seen.shift is not None:
            mask = self._mask(seen.mask)
            yield "image", _small(image)
            yield "here and there", _contours(image, mask, seen.shift)
        else:
            mask = self._mask(seen.mask)
            same = mask.shape == image.shape[:2]
            box = _box(seen.place, mask.shape) if same else (slice(None), slice(None))
            yield "image", _small(image[box])
            under = image if same else np.zeros((*mask.shape, 3), np.uint8)
            yield "mask", self._paint(under, mask, seen.place)

    def _image(self, path: Path) -> Picture:
        image = read_image(path, self.channels, self.scale)
        return shrink_image(image, (image.shape[0], image.shape[1]))

    def _mask(self, path: Path) -> NDArray[np.int32]:
        """Read a mask as far as it has a meaning; ``UNKNOWN`` elsewhere."""
        own = (reader for masks, reader in self.readers if path in masks)
        reader = next(own, self.readers[0][1])  # any one for a mask that belongs to no image
        return reader.read_known(path)

    def _paint(
        self, image: Picture, mask: NDArray[np.int32], place: tuple[int, int] | None
    ) -> Picture:
        """Lay a mask over an image; what has no meaning is red, with a ring around the first."""
        unknown = mask == UNKNOWN
        known: Mask = np.where(unknown, self.labels.ignore_index, mask).astype(self.labels.dtype)
        painted = overlay(image, known, self.labels, _ALPHA)
        painted[unknown] = _RED
        if place is not None:
            row, column = place
            cv2.circle(painted, (column, row), 6, _RED, 1, cv2.LINE_AA)
        return _small(painted[_box(place, mask.shape)])


def _contours(image: Picture, mask: NDArray[Any], shift: tuple[int, int]) -> Picture:
    """Draw a mask's contours on the grey image: at their place, and where they would fit."""
    size = fit((mask.shape[0], mask.shape[1]), _LARGEST)
    scale = size[1] / mask.shape[1]
    small = shrink_mask(mask.astype(np.uint16), size)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    border = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, cross) > 0
    grey = shrink_image(image, size)
    out = differences(grey, np.zeros_like(border))
    down, right = (round(scale * way) for way in shift)
    moved = np.array([[1, 0, right], [0, 1, down]], np.float32)
    there = cv2.warpAffine(border.view(np.uint8), moved, size[::-1]) > 0
    out[border] = ORANGE
    out[there] = BLUE
    return out


def _box(place: tuple[int, int] | None, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Return a window around a place, whole inside of the image; all of it where there is none."""
    if place is None:
        return slice(None), slice(None)
    starts = [
        min(max(0, at - _CROP // 2), max(0, side - _CROP))
        for at, side in zip(place, size, strict=True)
    ]
    return slice(starts[0], starts[0] + _CROP), slice(starts[1], starts[1] + _CROP)


def _small(picture: Picture) -> Picture:
    """Return a picture as large as the page shows it; a cutting is enlarged pixel by pixel."""
    height, width = picture.shape[:2]
    times = max(1, _LARGEST // max(height, width))
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    return shrink_image(large, fit((large.shape[0], large.shape[1]), _LARGEST))
