"""The token pyramid: a light convolutional network that keeps a map at each stride from 4 to 32.

Shapes: B batch, C channels, H W pixels of the input, h w cells of a map
"""
# ruff: noqa: D102 - what forward takes and returns is the Shape of its class

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from torch import Tensor, nn

STRIDES: Final = (4, 8, 16, 32)
"""Of the maps that the pyramid keeps."""


class Stage(NamedTuple):
    """One inverted residual of the token pyramid."""

    kernel: int
    expand: int
    stride: int


STAGES = (
    Stage(3, 1, 1),
    Stage(3, 4, 2),  # stride 4
    Stage(3, 3, 1),
    Stage(5, 3, 2),  # stride 8
    Stage(5, 3, 1),
    Stage(3, 3, 2),  # stride 16
    Stage(3, 3, 1),
    Stage(5, 6, 2),  # stride 32
    Stage(5, 6, 1),
    Stage(3, 6, 1),
)


class ConvBN(nn.Sequential):
    """Convolution without bias, then batch norm; the pair that inference folds into one.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the filter; the padding keeps h and w at stride 1.
        stride: Step of the filter.
        groups: Groups of channels; ``inputs`` for a depthwise filter.
        name: Published name of the convolution: "c" in the pyramid and the transformer, "conv" in
            the injection and the head.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        name: str = "c",
    ) -> None:
        conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        super().__init__(OrderedDict({name: conv, "bn": nn.BatchNorm2d(outputs)}))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel alone, narrow.

    Shape:
        (B, inputs, h, w) -> (B, outputs, h / stride, w / stride)
    """

    def __init__(self, inputs: int, outputs: int, stage: Stage) -> None:
        super().__init__()
        hidden = inputs * stage.expand
        widen = [] if stage.expand == 1 else [ConvBN(inputs, hidden), nn.ReLU()]
        self.conv = nn.Sequential(
            *widen,
            ConvBN(hidden, hidden, stage.kernel, stage.stride, groups=hidden),
            nn.ReLU(),
            ConvBN(hidden, outputs),
        )
        self.residual = stage.stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class TokenPyramid(nn.ModuleDict):
    """Stem and stages; keeps the last map at each stride from 4 to 32.

    Shape:
        (B, C, H, W) -> (B, C1, H/4, W/4), (B, C2, H/8, W/8), (B, C3, H/16, W/16),
        (B, C4, H/32, W/32)
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        stem = nn.Sequential(ConvBN(in_channels, channels[0], kernel=3, stride=2), nn.ReLU())
        super().__init__({"stem": stem})
        for number, outputs in enumerate(channels, start=1):
            inputs = channels[max(0, number - 2)]
            self[f"layer{number}"] = InvertedResidual(inputs, outputs, STAGES[number - 1])
        self.last = ("layer3", "layer5", "layer7", f"layer{len(channels)}")

    def forward(self, x: Tensor) -> list[Tensor]:
        pyramid = []
        for name, layer in self.items():
            x = layer(x)
            if name in self.last:
                pyramid.append(x)
        return pyramid
