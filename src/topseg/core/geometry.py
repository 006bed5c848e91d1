"""Geometry: the one rule that turns an image's size into the network's input size.

The network takes multiples of 32. topseg's own recipes round to the nearest multiple of 64, where
both pooling rules of TopFormer agree; the reference rounds up to multiples of 32
(PaddleSeg ``Resize(target_size=[2048, 512], keep_ratio=True, size_divisor=32)``).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.errors import InputError

Size = tuple[int, int]
"""(height, width), always in that order."""

STRIDE: Final = 8
"""Logits have one cell for this many network pixels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResizeRule:
    """How an image becomes the network's input, in evaluation and prediction."""

    short_side: Annotated[int, Field(ge=32, le=16384)] | None = 512
    """Length in pixels that the image's shorter side is brought to; null keeps the image's size."""
    max_long_side: Annotated[int, Field(ge=32, le=1_000_000)] = 2048
    """Upper bound in pixels for the longer side (very long images shrink further)."""
    multiple: Literal[32, 64, 128] = 64
    """Both sides are rounded to a multiple of this many pixels."""
    round: Literal["nearest", "up"] = "nearest"
    """Round to the nearest multiple, or up as the reference does."""

    def network_size(self, size: Size) -> Size:
        """Return the network's input size for an image.

        Args:
            size: (height, width) of the image in pixels.

        Returns:
            (height, width), both multiples of ``multiple`` and at least one multiple.
        """
        scale = self.max_long_side / max(size)
        scale = min(scale, 1.0 if self.short_side is None else self.short_side / min(size))
        return self._round(size[0] * scale), self._round(size[1] * scale)

    def _round(self, side: float) -> int:
        pixels = round(side)  # half to even, as the reference rounds before its ceiling
        if self.round == "up":
            return max(1, -(-pixels // self.multiple)) * self.multiple
        return max(1, (2 * pixels + self.multiple) // (2 * self.multiple)) * self.multiple


def parse_size(text: str, multiple: int = 32) -> Size:
    """Read "512x704" as (height, width).

    Raises:
        InputError: It is something else, or no multiples of ``multiple``.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if any(side < multiple or side % multiple for side in size):
        raise InputError(
            f"size: got '{text}', expected HEIGHTxWIDTH in multiples of {multiple}, such as 512x704"
        )
    return size
