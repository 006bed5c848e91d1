"""Transforms: random changes of a training sample, on bytes, by OpenCV.

A transform is its own recipe entry: a frozen dataclass that is called with ``(sample, rng)``. What
is drawn (``draw``) is apart from what is done with it (``apply``), so a sample can be replayed.
"""

from __future__ import annotations

from typing import Annotated

from topseg.core.choice import NamedSection
from topseg.data.transforms.crop import PadCrop, sized
from topseg.data.transforms.distort import Change, Distort, Photometric
from topseg.data.transforms.flip import Flip
from topseg.data.transforms.scale import RandomScale, Resize, StepScale
from topseg.data.transforms.transform import Rng, Transform

_SECTIONS = (StepScale, RandomScale, Resize, PadCrop, Flip, Distort, Photometric)

TRANSFORMS: dict[str, type] = {section.name: section for section in _SECTIONS}
"""Every built-in transform by its name."""

AnyTransform = Annotated[Transform, NamedSection("transforms", TRANSFORMS, Transform)]
"""Type of a recipe's transform: a built-in one or a plug-in."""

__all__ = [
    "TRANSFORMS",
    "AnyTransform",
    "Change",
    "Distort",
    "Flip",
    "PadCrop",
    "Photometric",
    "RandomScale",
    "Resize",
    "Rng",
    "StepScale",
    "Transform",
    "sized",
]
