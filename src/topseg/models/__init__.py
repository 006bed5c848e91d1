"""Models: networks by name. Importing this needs no torch; building one does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from topseg.core import plugins
from topseg.core.errors import InputError
from topseg.models.family import Family, Variant
from topseg.models.topformer import family as topformer

if TYPE_CHECKING:
    from torch import nn

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in (*topformer.VARIANTS,)}
"""Every built-in network by its name."""


def find_variant(name: str, *, trusted: bool = False, where: str = "model.name") -> Variant:
    """Find a network by its name.

    Args:
        name: A built-in name, or that of an entry point ``topseg.models`` of an installed package.
        trusted: Whether ``package.module:NAME`` is imported as well: only where a person gave it.
        where: Put before the message.

    Raises:
        InputError: There is no such network.
    """
    found = plugins.look_up("models", name, VARIANTS, Variant, trusted=trusted, where=where)
    if ":" not in name and found.name != name:
        raise InputError(
            f"{where}: the entry point '{name}' holds the network '{found.name}'; an entry point "
            "has the name of its network, so that bundles find it"
        )
    return found


def families() -> Iterator[Family]:
    """Return every family, the built-in ones first; installed packages are imported as they come.

    Raises:
        InputError: An installed package cannot be imported.
    """
    seen: set[Family] = set()
    for name in plugins.known("models", VARIANTS):
        family = find_variant(name).family
        if family not in seen:
            seen.add(family)
            yield family


def create_model(
    name: str,
    num_classes: int = 150,
    *,
    in_channels: int = 3,
    drop_path: float = 0.0,
    **options: Any,
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: "topformer_base", "topformer_small", "topformer_tiny", the name of an installed
            plug-in, or ``package.module:NAME``.
        num_classes: K, the classes to tell apart.
        in_channels: C, channels of an image.
        drop_path: Largest rate of stochastic depth, in training.
        options: What the family has beside these; TopFormer's ``pool``: "adaptive" (official code)
            keeps the last strip of sides that are no multiple of 64, "fixed" (PaddleSeg) drops it;
            at multiples of 64 they agree.

    Returns:
        A module: (B, C, H, W) normalised float -> (B, K, H/8, W/8) logits, H and W multiples of 32.

    Raises:
        InputError: No such network or option, or PyTorch is not installed.
    """
    variant = find_variant(name, trusted=True)
    network = variant.build(num_classes, in_channels, options)
    if drop_path:
        set_drop_path(variant, network, drop_path)
    return network


def set_drop_path(variant: Variant, network: nn.Module, rate: float) -> None:
    """Set the largest rate of stochastic depth.

    Raises:
        InputError: The family has no stochastic depth.
    """
    if variant.family.set_drop_path is None:
        raise InputError(f"model.drop_path: {variant.family.name} has no stochastic depth; leave 0")
    variant.family.set_drop_path(network, rate)
