"""Accumulator: what an evaluation feeds with one image after the other.

Only sums are kept, so memory does not grow with the data set (``PerImage`` is the exception, by
what it is for). Several processes each feed their own, send ``state()`` and ``merge`` the others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from topseg.core.labels import Mask
from topseg.inference.tta import Logits

State = Mapping[str, NDArray[Any]]
"""What an accumulator has seen, as arrays by name."""


class Accumulator(Protocol):
    """A score in the making."""

    def update(self, truth: Mask, mask: Mask, logits: Logits | None) -> None:
        """Take one image.

        Args:
            truth: (H, W) class indices, the ignore index elsewhere.
            mask: (H, W) predicted class indices.
            logits: (K, h, w) that the mask was made from; None where a protocol has none.
        """
        ...

    def state(self) -> State:
        """Return what has been seen, to be sent to another process."""
        ...

    def merge(self, state: State) -> None:
        """Add what another accumulator of the same kind has seen."""
        ...

    def scores(self) -> Mapping[str, Any]:
        """Return the scores by name."""
        ...
