"""Sample: one image with its mask, the unit that data sets give and transforms change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import Mask


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        image: (H, W, C) uint8, RGB for three channels.
        mask: (H, W) class indices, the label set's ignore value elsewhere.
        name: What to call it in messages and output files (path relative to the root).
    """

    image: NDArray[np.uint8]
    mask: Mask
    name: str
