"""Zoo: the networks that can be built by name, and what they cost. Needs no torch.

The figures are those of 150 classes, three channels and a 512x512 image; ``models.cost`` counts
them for any other case.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """One network."""

    name: str
    parameters: int
    """Trainable parameters."""
    macs: int
    """Multiply-accumulates of convolutions and attention products for one image."""
    paper: str = "https://arxiv.org/abs/2204.05525"


NETWORKS = {
    network.name: network
    for network in (
        Network("topformer_base", parameters=5_062_646, macs=1_752_203_264),
        Network("topformer_small", parameters=3_034_662, macs=1_112_297_472),
        Network("topformer_tiny", parameters=1_389_654, macs=534_110_208),
    )
}
