"""Losses: the terms that can be added up to the loss of a batch, each its own recipe section."""

from __future__ import annotations

from typing import Annotated

from topseg.core.choice import NamedSection
from topseg.losses.cross_entropy import CrossEntropy
from topseg.losses.dice import Dice
from topseg.losses.focal import Focal
from topseg.losses.lovasz import Lovasz
from topseg.losses.ohem import Ohem
from topseg.losses.term import Loss, count_all, total_loss

LOSSES: dict[str, type] = {
    section.name: section for section in (CrossEntropy, Ohem, Focal, Dice, Lovasz)
}
"""Every built-in term by its name."""

AnyLoss = Annotated[Loss, NamedSection("losses", LOSSES, Loss)]
"""Type of a recipe's term: a built-in one or a plug-in."""

__all__ = [
    "LOSSES",
    "AnyLoss",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Loss",
    "Lovasz",
    "Ohem",
    "count_all",
    "total_loss",
]
