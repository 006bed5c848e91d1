"""Models: networks by name. Importing this needs no torch; building one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from topseg.core.errors import InputError, did_you_mean
from topseg.models.zoo import NETWORKS

if TYPE_CHECKING:
    from topseg.models.topformer import TopFormer


def create_model(
    name: str,
    num_classes: int = 150,
    *,
    in_channels: int = 3,
    pool: Literal["adaptive", "fixed"] = "adaptive",
    drop_path: float = 0.0,
) -> TopFormer:
    """Build a network with fresh weights.

    Args:
        name: "topformer_base", "topformer_small" or "topformer_tiny".
        num_classes: K, the classes to tell apart.
        in_channels: C, channels of an image.
        pool: Token pooling. "adaptive" (official code) keeps the last strip of sides that are no
            multiple of 64, "fixed" (PaddleSeg) drops it; at multiples of 64 they agree.
        drop_path: Stochastic depth of the last transformer block, in training.

    Returns:
        A module: (B, C, H, W) normalised float -> (B, K, H/8, W/8) logits, H and W multiples of 32.

    Raises:
        InputError: No such network or pooling, or PyTorch is not installed.
    """
    if name not in NETWORKS:
        raise InputError(f"model.name: no network '{name}'{did_you_mean(name, NETWORKS)}")
    if pool not in ("adaptive", "fixed"):
        raise InputError(f"model.pool: got '{pool}', expected 'adaptive' or 'fixed'")
    try:
        from topseg.models.topformer import VARIANTS, TopFormer
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InputError(
            "PyTorch is not installed, and building a network needs it; pip install 'topseg[train]'"
        ) from None
    return TopFormer(
        VARIANTS[name], num_classes, in_channels=in_channels, pool=pool, drop_path=drop_path
    )
