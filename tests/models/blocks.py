"""A family of other people: a network in thirty lines, as a plug-in would bring it."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from topseg.core.config import STRICT
from topseg.models.family import Family, Variant


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """What a bundle has to keep of it."""

    kernel: Annotated[int, Field(ge=1, le=7)] = 3
    """Side of the filter."""


class Blocks(nn.Module):
    """Blocks of 8x8 pixels, a filter over them, and a score for each class."""

    def __init__(self, width: int, num_classes: int, in_channels: int, options: Options) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(in_channels, width, 8, stride=8), nn.BatchNorm2d(width), nn.ReLU()
        )
        padding = options.kernel // 2
        self.head = nn.Conv2d(width, num_classes, options.kernel, padding=padding)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H/8, W/8)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


FAMILY = Family(
    name="Blocks", paper="https://example.org", build=Blocks, options=Options, multiple=8
)
SMALL = Variant(name="blocks_small", family=FAMILY, config=8)
