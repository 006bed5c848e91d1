"""Test-time augmentation: several views of an image, averaged as stride-8 logits.

A view is a scale, its mirror image, or a window of it. Every view's logits are brought to the
largest view's stride-8 grid and averaged there, so that one tail makes the mask whatever the views.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.errors import InputError
from topseg.geometry import STRIDE, ResizeRule, Size
from topseg.runtimes import Runtime

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Slide:
    """Windows over the network's input.

    Attributes:
        crop: (height, width) of a window in network pixels, multiples of 32.
        stride: Steps (down, right) between windows, multiples of 8, no longer than the window.
    """

    crop: Size
    stride: Size

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.crop):
            raise InputError(f"slide: got a crop of {self.crop}, expected multiples of 32")
        steps = zip(self.stride, self.crop, strict=True)
        if any(step % STRIDE or not STRIDE <= step <= side for step, side in steps):
            raise InputError(
                f"slide: got a stride of {self.stride} for a crop of {self.crop}, expected "
                f"multiples of {STRIDE} that are no longer than the crop"
            )

    def windows(self, size: Size) -> Iterator[tuple[slice, slice]]:
        """Give the windows that cover an input; the last of a row is shifted back inside."""
        for top in _starts(size[0], self.crop[0], self.stride[0]):
            for left in _starts(size[1], self.crop[1], self.stride[1]):
                yield (
                    slice(top, min(top + self.crop[0], size[0])),
                    slice(left, min(left + self.crop[1], size[1])),
                )


@dataclass(frozen=True)
class Views:
    """Which views of an image are averaged.

    Attributes:
        flip: The mirror image (left and right) as well.
        scales: Factors on the network's input size.
        slide: Windows instead of the whole input; None: whole.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    slide: Slide | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise InputError(f"scales: got {self.scales}, expected numbers above 0, at most 8")


WHOLE = Views()
"""The whole image, once."""


def view_logits(
    runtime: Runtime, image: NDArray[Any], rule: ResizeRule, views: Views = WHOLE
) -> Logits:
    """Run the network on every view and average.

    Args:
        runtime: The engine.
        image: (H, W, C), of any size.
        rule: How it becomes the network's input at scale 1.
        views: The views.

    Returns:
        (K, h, w) float32 at stride 8 of the largest view.
    """
    base = rule.network_size((image.shape[0], image.shape[1]))
    sizes = [scaled_size(base, scale, rule.multiple) for scale in views.scales]
    grid_height, grid_width = (side // STRIDE for side in max(sizes, key=math.prod))
    total: Logits | float = 0.0
    for size in sizes:
        resized = resize_image(image, size)
        logits = window_logits(runtime, resized, views.slide)
        if views.flip:
            mirrored = np.ascontiguousarray(resized[:, ::-1])
            logits = logits + window_logits(runtime, mirrored, views.slide)[:, :, ::-1]
        total = total + resize_logits(logits, (grid_height, grid_width))
    return np.asarray(total / (len(sizes) * (1 + views.flip)), np.float32)


def window_logits(runtime: Runtime, image: NDArray[Any], slide: Slide | None) -> Logits:
    """Run the network on an input of its own size, whole or window by window.

    Args:
        runtime: The engine.
        image: (H, W, C), multiples of 32.
        slide: The windows; None: whole.

    Returns:
        (K, H/8, W/8) float32, averaged where windows overlap.
    """
    if slide is None:
        return np.asarray(runtime(image[None])[0])
    height, width = image.shape[0], image.shape[1]
    grid = (height // STRIDE, width // STRIDE)
    total = np.zeros((runtime.metadata.model.num_classes, *grid), np.float32)
    count = np.zeros(grid, np.float32)
    for rows, columns in slide.windows((height, width)):
        cells = (_cells(rows), _cells(columns))
        total[:, *cells] += runtime(np.ascontiguousarray(image[None, rows, columns]))[0]
        count[cells] += 1
    total /= count
    return total


def scaled_size(base: Size, scale: float, multiple: int) -> Size:
    """Give the input size nearest to ``base * scale`` that the network takes."""
    height, width = (max(1, math.floor(s * scale / multiple + 0.5)) * multiple for s in base)
    return height, width


def resize_image(image: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize (H, W, C) of any type bilinearly, channels kept also where there is one."""
    if image.shape[:2] == size:
        return np.ascontiguousarray(image)
    resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized).reshape(*size, image.shape[2])


def resize_logits(logits: Logits, size: Size) -> Logits:
    """Resize (K, h, w) bilinearly (``align_corners=False``)."""
    if logits.shape[1:] == size:
        return logits
    out = np.empty((len(logits), *size), np.float32)
    for plane, target in zip(logits, out, strict=True):
        cv2.resize(plane, (size[1], size[0]), dst=target, interpolation=cv2.INTER_LINEAR)
    return out


def _starts(side: int, crop: int, stride: int) -> Iterator[int]:
    rows = 1 if side <= crop else -(-(side - crop) // stride) + 1
    return (max(0, min(row * stride, side - crop)) for row in range(rows))


def _cells(pixels: slice) -> slice:
    return slice(pixels.start // STRIDE, pixels.stop // STRIDE)
