"""Sample: one image with its mask, the unit that data sets give and transforms change."""

from __future__ import annotations

from dataclasses import dataclass

from topseg.core.labels import Mask
from topseg.media.images import Image


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        image: (H, W, C) uint8, RGB for three channels.
        mask: (H, W) class indices, the label set's ignore value elsewhere.
        name: What to call it in messages and output files (path relative to the root).
    """

    image: Image
    mask: Mask
    name: str
