"""Losses of a PaddleSeg configuration: the terms of a recipe's loss.

Source: PaddleSeg ``models/losses/`` (version 2.9): ``cross_entropy_loss.py``,
``ohem_cross_entropy_loss.py``, ``focal_loss.py``, ``lovasz_loss.py``, ``dice_loss.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from topseg.core.config import Tree
from topseg.interop.sections import Section


class _Setting(NamedTuple):
    """What a loss has to know of the rest of the file."""

    ignore: int
    """Mask value without a class."""
    images: int
    """Images of one GPU's batch."""
    notes: list[str]
    """Where lines for the user are added."""


def read_losses(loss: Section, ignore: int, images: int, notes: list[str]) -> list[Tree]:
    """Translate the loss of a network with one output.

    Args:
        loss: The section.
        ignore: Mask value without a class, as the data have it.
        images: Images of one GPU's batch there.
        notes: Where lines for the user are added.

    Returns:
        ``loss`` of a recipe.
    """
    types, factors = loss.sections("types"), loss.numbers("coef", [])
    if len(types) != 1 or len(factors) != 1:
        one = "expected one of each, for the network has one output"
        loss.refuse("types", f"got {len(types)}, with coef {factors}; {one}")
    setting = _Setting(ignore, images, [])
    terms = [term for one in types for term in _terms(one, next(iter(factors), 1.0), setting)]
    described = (
        f"{term['weight']:g} x {term['name']}"
        + (f", {term['mean_over']} pixels" if "mean_over" in term else "")
        for term in terms
    )
    notes.append("; ".join([f"loss -> {', '.join(described)}", *setting.notes]))
    return terms


def _terms(loss: Section, weight: float, setting: _Setting) -> list[Tree]:
    kind = loss.kind(("MixedLoss", *_LOSSES))
    if kind is None:
        return []
    if kind == "MixedLoss":
        parts, factors = loss.sections("losses"), loss.numbers("coef", [])
        if len(parts) != len(factors):
            loss.refuse("coef", f"got {len(factors)}, expected one for each of {len(parts)} losses")
        pairs = zip(parts, factors, strict=False)
        return [term for part, factor in pairs for term in _terms(part, weight * factor, setting)]
    loss.only("ignore_index", setting.ignore, why="as train_dataset")
    return [_LOSSES[kind](loss, weight, setting)]


def _cross_entropy(loss: Section, weight: float, setting: _Setting) -> Tree:
    loss.only("data_format", "NCHW")
    labelled, hard = loss.take("avg_non_ignore", True), loss.number("top_k_percent_pixels", 1.0)
    if hard != 1:
        loss.only("weight", None, why="there it also changes which pixels are hard")
        return {"name": "ohem", "weight": weight, "fraction": hard}
    return {
        "name": "cross_entropy",
        "weight": weight,
        "class_weights": loss.take("weight"),
        "mean_over": "labelled" if labelled else "all",
    }


def _ohem(loss: Section, weight: float, setting: _Setting) -> Tree:
    kept, images = loss.number("min_kept", 10_000), setting.images
    each = round(kept / images)
    setting.notes.append(
        f"min_kept {kept:g} are of the {images} images of a GPU, and {each} of each image here"
    )
    threshold = loss.number("thresh", 0.7)
    return {"name": "ohem", "weight": weight, "threshold": threshold, "min_kept": each}


def _focal(loss: Section, weight: float, setting: _Setting) -> Tree:
    """Translate the focal loss of many classes, whose alpha is one factor on all of them."""
    loss.take("num_class")
    alpha = loss.number("alpha", 1.0)
    return {"name": "focal", "weight": weight * alpha, "gamma": loss.number("gamma", 2.0)}


def _binary_focal(loss: Section, weight: float, setting: _Setting) -> Tree:
    """Translate the focal loss of two classes.

    There each class is a sigmoid of its own: a pixel adds alpha for its class and 1 - alpha for the
    other one, and the mean is over both, so that half of the weight is left in all.
    """
    loss.number("alpha", 0.25)
    setting.notes.append(
        "FocalLoss takes two sigmoids there and one softmax here, half as much, without alpha"
    )
    return {"name": "focal", "weight": weight / 2, "gamma": loss.number("gamma", 2.0)}


def _lovasz(loss: Section, weight: float, setting: _Setting) -> Tree:
    loss.only("classes", "present")
    return {"name": "lovasz", "weight": weight}


def _dice(loss: Section, weight: float, setting: _Setting) -> Tree:
    loss.only("weight", None)
    loss.number("smooth", 1.0)
    setting.notes.append(
        "DiceLoss is the mean of all classes there, of those in the batch here, smoothed by 1"
    )
    return {"name": "dice", "weight": weight}


_LOSSES: dict[str, Callable[[Section, float, _Setting], Tree]] = {
    "CrossEntropyLoss": _cross_entropy,
    "OhemCrossEntropyLoss": _ohem,
    "FocalLoss": _binary_focal,
    "MultiClassFocalLoss": _focal,
    "LovaszSoftmaxLoss": _lovasz,
    "DiceLoss": _dice,
}
"""Type -> its translation."""
