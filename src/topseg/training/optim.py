"""Optimizer: AdamW or SGD over two groups of parameters, the backbone and the rest.

Everything decays, batch norms and biases included, as in the reference (PaddleSeg's AdamW). The
backbone's multiplier scales its learning rate and with it AdamW's decoupled decay
``p *= 1 - lr * mult * decay``.
"""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from topseg.models.family import BACKBONE
from topseg.recipe import OptimConfig


def make_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """Build the optimizer.

    Args:
        model: A network or a ``Learner``; the network's parameters below ``backbone.`` take the
            multiplier.
        config: The recipe's section.
    """
    backbone: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        of_backbone = name.removeprefix("model.").startswith(BACKBONE)
        (backbone if of_backbone else rest).append(parameter)
    groups = [
        {"params": backbone, "lr_mult": config.backbone_lr_mult},
        {"params": rest, "lr_mult": 1.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return SGD(groups, config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=True)
    return AdamW(groups, config.lr, weight_decay=config.weight_decay, fused=True)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the next step; each group multiplies it by its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_mult"]
