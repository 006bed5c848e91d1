"""Distillation: how far a student's logits are from its teacher's, at stride 8.

Both are sums over images of divergences times the squared temperature, which keeps the size of the
gradient (Hinton et al., https://arxiv.org/abs/1503.02531).
"""

from __future__ import annotations

import torch
from torch import Tensor


def channel_wise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the channel-wise divergence (CWD, Shu et al., https://arxiv.org/abs/2011.13256).

    A class's logits become a distribution over the places of the image, so a student learns where a
    class is, whatever the other classes say; the divergence is the mean over classes.

    Args:
        student: (B, K, h, w) logits.
        teacher: (B, K, h, w) logits.
        temperature: What both are divided by.

    Returns:
        The sum over images, float64 scalar.
    """
    K = student.shape[1]
    return _divergence(student.flatten(2), teacher.flatten(2), temperature, -1) / K


def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the divergence of the class distributions, the mean over places.

    Args:
        student: (B, K, h, w) logits.
        teacher: (B, K, h, w) logits.
        temperature: What both are divided by.

    Returns:
        The sum over images, float64 scalar.
    """
    places = student[0, 0].numel()
    return _divergence(student.flatten(2), teacher.flatten(2), temperature, 1) / places


def _divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int) -> Tensor:
    """Return the sum of all Kullback-Leibler divergences KL(teacher || student)."""
    with torch.autocast(student.device.type, enabled=False):
        ours = (student.float() / temperature).log_softmax(dim)
        theirs = (teacher.float() / temperature).log_softmax(dim)
        return temperature**2 * (theirs.exp() * (theirs - ours)).sum(dtype=torch.float64)
