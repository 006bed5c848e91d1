"""PatchNet as a family of networks: the record that topseg finds. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topseg.models.family import Family, NoOptions, Variant

if TYPE_CHECKING:
    from torch import nn


def build(width: int, num_classes: int, in_channels: int, options: Any) -> nn.Module:
    """Build the network; torch is imported here and not before."""
    from topseg_example.network import PatchNet

    return PatchNet(width, num_classes, in_channels)


FAMILY = Family(
    name="PatchNet",
    paper="https://arxiv.org/abs/2201.09792",  # ConvMixer, whose patches it has
    build=build,
    options=NoOptions,
)

PATCHNET = Variant(name="patchnet", family=FAMILY, config=32, parameters=20_374, macs=82_575_360)
