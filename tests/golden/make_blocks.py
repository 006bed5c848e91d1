"""Write blocks.tflite: a LiteRT graph of a few bytes, for tests of the engine without a converter.

Its logits are the mean red, green and blue of each 8x8 block of a 64x96 image. Run it where
topseg[train,litert-export] is installed.
"""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from topseg.exporting.graphs.litert import write_litert

SIZE = (64, 96)


class Blocks(nn.Module):
    """(B, H, W, 3) uint8 -> (B, 3, H/8, W/8): the mean of each block."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images.float().permute(0, 3, 1, 2), 8)


def blocks_network() -> SimpleNamespace:
    """What a writer of graphs asks of a network."""
    example = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    return SimpleNamespace(module=Blocks().eval(), example=example, precision="fp32", size=SIZE)


if __name__ == "__main__":
    here = Path(__file__).parent
    graph = write_litert(blocks_network(), here)
    (here / graph.file).rename(here / "blocks.tflite")
