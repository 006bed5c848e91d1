"""Losses: the terms that can be added up to the loss of a batch."""

from topseg.losses.cross_entropy import CrossEntropy
from topseg.losses.dice import Dice
from topseg.losses.distillation import channel_wise, soft_targets
from topseg.losses.focal import Focal
from topseg.losses.lean import upsampled_cross_entropy
from topseg.losses.lovasz import Lovasz
from topseg.losses.ohem import Ohem
from topseg.losses.term import Loss, count_all, total_loss

__all__ = [
    "CrossEntropy",
    "Dice",
    "Focal",
    "Loss",
    "Lovasz",
    "Ohem",
    "channel_wise",
    "count_all",
    "soft_targets",
    "total_loss",
    "upsampled_cross_entropy",
]
