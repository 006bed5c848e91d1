"""What tells one TopFormer from another: the three sizes, and the rule of token pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic.dataclasses import dataclass as section

from topseg.core.config import STRICT

Pool = Literal["adaptive", "fixed"]

TOKEN_STRIDE: Final = 64
"""A token stands for 64x64 pixels."""


@dataclass(frozen=True)
class Dimensions:
    """What tells the three sizes apart."""

    channels: tuple[int, ...]
    """Width of each stage of the pyramid, of as many ``pyramid.STAGES`` as there are widths."""
    heads: int
    """Heads of attention."""
    embed: int
    """E, the width of the injected maps and of the head."""
    depthwise_head: bool = False
    """Whether the head mixes each channel by itself."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the maps that the pyramid keeps, at strides 4, 8, 16 and 32."""
        return tuple(self.channels[stage] for stage in (2, 4, 6, -1))


BASE = Dimensions((16, 32, 32, 64, 64, 128, 128, 160, 160, 160), heads=8, embed=256)
SMALL = Dimensions((16, 24, 24, 48, 48, 96, 96, 128, 128, 128), heads=6, embed=192)
TINY = Dimensions((16, 16, 16, 32, 32, 64, 64, 96, 96), heads=4, embed=128, depthwise_head=True)


@section(frozen=True, kw_only=True, config=STRICT)
class Options:
    """The options of TopFormer."""

    pool: Pool = "adaptive"
    """Token pooling: 'adaptive' (official code) keeps the last strip of sides that are no multiple
    of 64, 'fixed' (PaddleSeg) drops it; they agree at multiples of 64."""
