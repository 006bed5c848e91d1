"""Suggestions: settings of a recipe that suit what a training split holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from topseg.core.geometry import Size
from topseg.data.frequency import class_weights
from topseg.data.statistics import SplitCounts

_MULTIPLE: Final = 32
_CROP: Final[Size] = (512, 1024)
"""Most of the shorter and of the longer side, as the reference has it for Cityscapes."""
_RARE: Final = 10
"""Between the weights of the rarest and of the most frequent class, from where weights help."""


def suggest(split: SplitCounts, names: Sequence[str]) -> dict[str, str]:
    """Return settings of a recipe, as ``key=value``, each with its reason.

    Args:
        split: The training split.
        names: Of the classes.
    """
    found = {}
    if split.usual is not None:
        height, width = split.usual
        crop = suggest_crop(split.usual)
        found[f"train.crop=[{crop[0]},{crop[1]}]"] = f"images of {width}x{height} pixels, usually"
    there = split.pixels > 0
    if np.count_nonzero(there) > 1:
        weights = np.array(class_weights(split.frequency, "median_frequency"))
        ratio = float(weights[there].max() / weights[there].min())
        if ratio >= _RARE:
            rare = names[int(np.where(there, weights, 0).argmax())]
            often = names[int(np.where(there, weights, np.inf).argmin())]
            term = "[{name: cross_entropy, class_weights: sqrt_median_frequency}]"
            found[f"loss={term}"] = (
                f"'{often}' covers {ratio:.0f} times as much of its images as '{rare}' of its own"
            )
    return found


def suggest_crop(size: Size) -> Size:
    """Return the (height, width) of training crops for images of a size.

    It holds as much of the image as the limits allow, in multiples of 32.
    """
    upright = size[0] > size[1]
    limits = _CROP[::-1] if upright else _CROP
    height, width = (
        max(_MULTIPLE, min(limit, side) // _MULTIPLE * _MULTIPLE)
        for side, limit in zip(size, limits, strict=True)
    )
    return height, width
