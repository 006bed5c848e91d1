"""Labels: the names, colours and ignore value that a mask's numbers stand for.

One explicit model for every data set: class ``i`` has name ``names[i]`` and colour ``palette[i]``;
pixels that no class claims hold ``ignore_index``.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError, did_you_mean
from topseg.core.palette import default_palette as default_palette

Mask = NDArray[np.unsignedinteger[Any]]
"""(H, W) uint8, or uint16 above 255 classes."""
Color = tuple[int, int, int]
LabelMap = Mapping[int, int | Literal["ignore"]]
"""Raw value in a mask file -> class index, or "ignore"."""

STANDARD_SETS = ("ade20k", "camvid", "cityscapes", "voc")


@dataclass(frozen=True)
class LabelSet:
    """What the numbers in a mask mean.

    Attributes:
        names: One name per class, K of them.
        palette: One (red, green, blue) colour per class, each 0..255.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise InputError(
                f"palette: got {len(self.palette)} colours for {len(self.names)} classes; "
                "give one [red, green, blue] per class"
            )
        if not 1 <= len(self.names) <= 65535:
            raise InputError(f"classes: got {len(self.names)} names, expected 1 to 65535")

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a mask with these classes: uint8, or uint16 above 255 classes."""
        return np.dtype(np.uint8 if self.num_classes <= 255 else np.uint16)

    @property
    def ignore_index(self) -> int:
        """Value of pixels without a class in memory: 255, or 65535 in uint16 masks."""
        return int(np.iinfo(self.dtype).max)

    def colors(self) -> NDArray[np.uint8]:
        """Return the palette as an array (K, 3) uint8 RGB."""
        return np.array(self.palette, np.uint8).reshape(-1, 3)


def standard_set(name: str) -> tuple[LabelSet, LabelMap | None]:
    """Return a published label set and its map from raw mask values to classes.

    Args:
        name: One of ``STANDARD_SETS``.

    Raises:
        InputError: No such set.
    """
    if name not in STANDARD_SETS:
        raise InputError(f"classes: no label set '{name}'{did_you_mean(name, STANDARD_SETS)}")
    file = importlib.resources.files("topseg.core") / "labelsets" / f"{name}.json"
    table = json.loads(file.read_text(encoding="utf-8"))
    names = tuple(row[0] for row in table["classes"])
    palette = tuple((row[1], row[2], row[3]) for row in table["classes"])
    raw = {int(value): target for value, target in table["label_map"].items()}
    return LabelSet(names, palette), raw
