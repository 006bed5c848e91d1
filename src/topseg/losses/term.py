"""Term: sums over a part of the batch and counts of it, so that a batch can be cut anywhere.

A term never divides. The trainer adds the counts of the whole batch (all its parts, all processes)
before the forward pass and divides the sums by them. Where a term is a sum over pixels, the
gradient is that of the whole batch however it was cut. Where it is not (OHEM ranks pixels, Dice and
Lovasz are ratios), a part is a batch of its own, and its loss counts as much as it has images.

A term is its own recipe section, so the recipe is read where there is no torch: whatever needs
torch is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from pydantic import Discriminator, Tag

from topseg.core.ranges import Positive
from topseg.data.frequency import Rule

if TYPE_CHECKING:
    from torch import Tensor


def _form(value: Any) -> str:
    return "rule" if isinstance(value, str) else "numbers"


ClassWeights = Annotated[
    Annotated[tuple[Positive, ...], Tag("numbers")] | Annotated[Rule, Tag("rule")],
    Discriminator(_form),
]
"""One factor per class, or the rule that counts them; the trainer puts numbers in a rule's place
before the first step."""


@runtime_checkable
class Loss(Protocol):
    """One term of the loss: a frozen pydantic dataclass whose fields are its recipe section."""

    @property
    def name(self) -> str:
        """What the recipe calls it."""

    @property
    def weight(self) -> float:
        """Factor of the term in the whole loss."""

    @property
    def additive(self) -> bool:
        """Whether the sums of a batch's parts add up to the batch's own."""

    @property
    def lean(self) -> bool:
        """Whether it needs no (B, K, H, W) tensor."""

    def count(self, masks: Tensor, ignore_index: int) -> Tensor:
        """Return what the sum is divided by, from the labels alone.

        Args:
            masks: (B, H, W) class indices of any integer type.
            ignore_index: Value of mask pixels that do not count.

        Returns:
            float64 scalar on the masks' device.
        """

    def sum(self, logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
        """Return the sum over the part; 0 where nothing is labelled.

        Args:
            logits: (B, K, h, w) of any float type; computed in float32.
            masks: (B, H, W) class indices of any integer type.
            ignore_index: Value of mask pixels that do not count.

        Returns:
            float64 scalar; its gradient reaches the logits.
        """


def count_all(terms: Sequence[Loss], masks: Tensor, ignore_index: int) -> Tensor:
    """Return the counts of all terms, (T,) float64, ready to be added over processes."""
    import torch

    return torch.stack([term.count(masks, ignore_index) for term in terms])


def total_loss(
    terms: Sequence[Loss], logits: Tensor, masks: Tensor, ignore_index: int, counts: Tensor
) -> Tensor:
    """Return the share of a part of the batch in the loss of the whole batch.

    Args:
        terms: T terms.
        logits: (B, K, h, w) of the part.
        masks: (B, H, W) of the part.
        ignore_index: Value of mask pixels that do not count.
        counts: (T,) of the whole batch, from :func:`count_all`.

    Returns:
        float64 scalar; the shares of all parts add up to the batch's loss.
    """
    import torch

    divisors = torch.where(counts > 0, counts, 1.0)  # nothing labelled: 0 / 1, not 0 / 0
    shares = [
        term.weight * term.sum(logits, masks, ignore_index) / divisor
        for term, divisor in zip(terms, divisors, strict=True)
    ]
    return torch.stack(shares).sum()


def count_labelled(
    masks: Tensor, ignore_index: int, class_weights: ClassWeights | None = None
) -> Tensor:
    """Count the labelled pixels, each as much as its class weighs, as a float64 scalar."""
    import torch

    labelled = masks != ignore_index
    weights = weight_tensor(class_weights)
    if weights is None:
        return labelled.sum(dtype=torch.float64)
    weights = weights.to(masks.device, torch.float64)
    return (weights[masks.long().where(labelled, 0)] * labelled).sum()


def count_images(masks: Tensor) -> Tensor:
    """Count the images, as a float64 scalar."""
    import torch

    return torch.tensor(len(masks), dtype=torch.float64, device=masks.device)


def weight_tensor(class_weights: ClassWeights | None) -> Tensor | None:
    """Return class weights as a (K,) float32 tensor; None: all classes weigh the same."""
    import torch

    assert not isinstance(class_weights, str), "the trainer puts numbers in the rule's place"
    return None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
