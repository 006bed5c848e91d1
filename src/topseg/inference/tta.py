"""Test-time augmentation: several views of an image, averaged as stride-8 logits.

A view is a scale, its mirror image, or a window of it. Every view's logits are brought to the
largest view's stride-8 grid and averaged there, so that one tail makes the mask whatever the views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import STRIDE, ResizeRule, Size
from topseg.media.resize import resize_image, resize_planes
from topseg.runtimes.base import Runtime

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Slide:
    """Windows over the network's input.

    Attributes:
        crop: (height, width) of a window in network pixels, multiples of 32.
        stride: Steps (down, right) between windows, no longer than the window; multiples of 8,
            unless the reference's path is followed.
    """

    crop: Size
    stride: Size

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.crop):
            raise InputError(f"slide: got a crop of {self.crop}, expected multiples of 32")
        if any(not 1 <= s <= side for s, side in zip(self.stride, self.crop, strict=True)):
            raise InputError(
                f"slide: got a stride of {self.stride} for a crop of {self.crop}, expected steps "
                "no longer than the crop (pixels between windows would be left out)"
            )

    def spans(self, side: int, axis: int) -> list[slice]:
        """Return the windows along one axis; the last one is shifted back inside.

        Args:
            side: Length of the input.
            axis: 0 down, 1 right.
        """
        crop, stride = min(self.crop[axis], side), self.stride[axis]
        starts = (min(i * stride, side - crop) for i in range(-(-(side - crop) // stride) + 1))
        return [slice(start, start + crop) for start in starts]


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


def input_size(runtime: Runtime, rule: ResizeRule, size: Size, views: Views = WHOLE) -> Size:
    """Return the network's input size for an image: the only one it takes, else the rule's.

    Args:
        runtime: The engine.
        rule: How an image becomes the network's input.
        size: (height, width) of the image.
        views: What will be averaged.

    Raises:
        InputError: Scales or windows on an engine that takes one size only.
    """
    if runtime.fixed_size is None:
        return rule.network_size(size)
    for what, asked in (("scales", views.scales != (1.0,)), ("slide", views.slide is not None)):
        if asked:
            height, width = runtime.fixed_size
            raise InputError(
                f"{what}: this graph takes only {height}x{width} (height x width); use a runtime "
                "with free sizes, such as onnx or torch"
            )
    return runtime.fixed_size


def view_inputs(
    image: NDArray[Any], base: Size, multiple: int, views: Views = WHOLE
) -> tuple[NDArray[Any], ...]:
    """Resize an image to each scale of the network's input.

    Args:
        image: (H, W, C), of any size.
        base: (height, width) of the network's input at scale 1.
        multiple: Sides at other scales are rounded to multiples of this many pixels.
        views: The views.

    Returns:
        One (h, w, C) array for each scale, of the image's type.
    """
    sizes = (scaled_size(base, scale, multiple) for scale in views.scales)
    return tuple(resize_image(image, size) for size in sizes)


def run_views(runtime: Runtime, inputs: Sequence[NDArray[Any]], views: Views = WHOLE) -> Logits:
    """Run the network on every view and average.

    Args:
        runtime: The engine.
        inputs: (h, w, C) for each scale, as :func:`view_inputs` returns them.
        views: The views.

    Returns:
        (K, h, w) float32 at stride 8 of the largest input.
    """
    height, width = max((array.shape[:2] for array in inputs), key=math.prod)
    total: Logits | float = 0.0
    for array in inputs:
        logits = window_logits(runtime, array, views.slide)
        if views.flip:
            mirrored = np.ascontiguousarray(array[:, ::-1])
            logits = logits + window_logits(runtime, mirrored, views.slide)[:, :, ::-1]
        total = total + resize_planes(logits, (height // STRIDE, width // STRIDE))
    return np.asarray(total / (len(inputs) * (1 + views.flip)), np.float32)


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
    if any(step % STRIDE for step in slide.stride):
        raise InputError(
            f"slide: got a stride of {slide.stride}, expected multiples of {STRIDE}, so that "
            "windows meet on the grid of the logits (the reference's protocol takes any)"
        )
    height, width = image.shape[0], image.shape[1]
    grid = (height // STRIDE, width // STRIDE)
    total = np.zeros((runtime.metadata.architecture.num_classes, *grid), np.float32)
    count = np.zeros(grid, np.float32)
    for rows in slide.spans(height, 0):
        for columns in slide.spans(width, 1):
            cells = (_cells(rows), _cells(columns))
            total[:, *cells] += runtime(np.ascontiguousarray(image[None, rows, columns]))[0]
            count[cells] += 1
    total /= count
    return total


def scaled_size(base: Size, scale: float, multiple: int) -> Size:
    """Return the input size nearest to ``base * scale`` that the network takes."""
    height, width = (max(1, math.floor(s * scale / multiple + 0.5)) * multiple for s in base)
    return height, width


def _cells(pixels: slice) -> slice:
    return slice(pixels.start // STRIDE, pixels.stop // STRIDE)
