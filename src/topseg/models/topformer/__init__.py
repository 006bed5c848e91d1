"""TopFormer (https://arxiv.org/abs/2204.05525): the network, and what is known of its weights."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topseg.models.topformer.network import TopFormer as TopFormer


def __getattr__(name: str) -> Any:
    """Import the network when it is first asked for: the rest of the package needs no torch."""
    if name != "TopFormer":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from topseg.models.topformer.network import TopFormer

    return TopFormer
