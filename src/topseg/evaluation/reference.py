"""Reference: the interpolation path of PaddleSeg's evaluation, step by step the same.

There the image is resized as floats, and each scale from that; logits are interpolated to the
view's size, to the network's input size, averaged (no softmax), and interpolated once more to the
image's own size; then argmax (PaddleSeg ``core/infer.py`` since version 2.8; older ones resized
each scale from what the one before had left, and added probabilities). Every step is linear and
separable, and so is their chain: a view adds ``R @ L @ C.T`` to the scores of a class, with L its
stride-8 logits and R, C two small matrices that hold all the interpolations of rows and of columns.
So no (K, H, W) tensor is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import STRIDE, ResizeRule, Size
from topseg.core.labels import Mask
from topseg.inference.tta import Logits, Views, input_size, scaled_size
from topseg.runtimes.base import Runtime

Matrix = NDArray[np.float64]
Term = tuple[Logits, NDArray[np.float32], NDArray[np.float32]]
"""Logits (K, h, w) of a window, its rows' matrix (H, h) and its columns' matrix (W, w)."""


def reference_mask(
    runtime: Runtime, image: NDArray[Any], rule: ResizeRule, views: Views
) -> tuple[Mask, bool]:
    """Make a mask as the reference does.

    Args:
        runtime: The engine. One that takes only bytes gets the resized image rounded.
        image: (H, W, C) uint8.
        rule: How it becomes the network's input.
        views: Scales, flips and windows.

    Returns:
        The mask (H, W), and whether a scale had to be rounded to a multiple of 32: the reference
        takes ``int(side * scale + 0.5)``, a size that its own network may fail at.
    """
    size = (image.shape[0], image.shape[1])
    base = input_size(runtime, rule, size, views)
    terms: list[Term] = []
    rounded = False
    pixels = _resized(image.astype(np.float32), base)
    for scale in views.scales:
        view = scaled_size(base, scale, 32)
        rounded |= any(b != int(a * scale + 0.5) for a, b in zip(base, view, strict=True))
        terms += _terms(runtime, _resized(pixels, view), base, size, views)
    mask = np.zeros(size, runtime.metadata.labels.dtype)
    best = np.full(size, -np.inf, np.float32)
    for index in range(runtime.metadata.labels.num_classes):
        score = sum(rows @ logits[index] @ columns.T for logits, rows, columns in terms)
        better = score > best
        mask[better] = index
        np.copyto(best, score, where=better)
    return mask, rounded


def _resized(image: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    if image.shape[:2] == size:
        return image
    resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32).reshape(*size, image.shape[2])


def _terms(
    runtime: Runtime, pixels: NDArray[np.float32], base: Size, size: Size, views: Views
) -> Iterator[Term]:
    """Run one scale's windows and mirror images."""
    height, width = pixels.shape[:2]
    rows = views.slide.spans(height, 0) if views.slide else [slice(0, height)]
    columns = views.slide.spans(width, 1) if views.slide else [slice(0, width)]
    row_matrices = _axis(rows, height, base[0], size[0], flip=False)
    for flip in (False, True)[: 1 + views.flip]:
        view = pixels[:, ::-1] if flip else pixels
        column_matrices = _axis(columns, width, base[1], size[1], flip=flip)
        for span, down in zip(rows, row_matrices, strict=True):
            for across, right in zip(columns, column_matrices, strict=True):
                yield _run(runtime, view[span, across]), down, right


def _run(runtime: Runtime, pixels: NDArray[np.float32]) -> Logits:
    if not getattr(runtime, "takes_float", False):
        pixels = np.rint(pixels).astype(np.uint8)
    return np.asarray(runtime(np.ascontiguousarray(pixels[None]))[0])


def _axis(
    spans: list[slice], view: int, base: int, size: int, flip: bool
) -> list[NDArray[np.float32]]:
    """Chain one axis's interpolations for each window.

    Args:
        spans: The windows in a view.
        view: Length of the view.
        base: Length of the network's input at scale 1.
        size: Length of the image.
        flip: Whether the view is a mirror image, to be turned back.

    Returns:
        For each window its matrix (size, window / 8).
    """
    count = np.zeros(view)
    for span in spans:
        count[span] += 1
    whole = interpolation(base, size) @ interpolation(view, base)
    if flip:
        whole = whole[:, ::-1]
    return [
        (whole[:, span] / count[span] @ interpolation(length // STRIDE, length)).astype(np.float32)
        for span in spans
        if (length := span.stop - span.start)
    ]


def interpolation(source: int, target: int) -> Matrix:
    """Return linear interpolation (``align_corners=False``) as a matrix (target, source)."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    left = np.floor(centre).astype(np.int64)
    right = np.minimum(left + 1, source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), left), 1 - (centre - left))
    np.add.at(matrix, (np.arange(target), right), centre - left)
    return matrix
