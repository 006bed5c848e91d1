"""Details: the deeper accumulators together, as ``topseg evaluate --details`` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from topseg.core.labels import LabelSet
from topseg.evaluation.accumulator import Accumulator
from topseg.evaluation.bootstrap import interval
from topseg.evaluation.boundary import BoundaryIoU
from topseg.evaluation.calibration import Calibration
from topseg.evaluation.images import PerImage
from topseg.evaluation.objects import ObjectRecall


def details_of(labels: LabelSet, threads: int = 1, *, logits: bool = True) -> list[Accumulator]:
    """Return new accumulators.

    Args:
        labels: The classes.
        threads: CPU threads for probabilities.
        logits: Whether the protocol has logits, which calibration needs.
    """
    found: list[Accumulator] = [
        BoundaryIoU(labels.num_classes, labels.ignore_index),
        ObjectRecall(labels.num_classes),
    ]
    return [*found, Calibration(labels.ignore_index, threads=threads)] if logits else found


def summarize(accumulators: Sequence[Accumulator], images: PerImage) -> dict[str, Any]:
    """Return all their scores and the mIoU's interval, as plain values for JSON."""
    found: dict[str, Any] = {}
    for accumulator in accumulators:
        found |= accumulator.scores()
    ends = interval(images.stacked())
    found["miou_interval"] = [float(ends.low), float(ends.high)]
    plain: dict[str, Any] = _plain(found)
    return plain


def describe(summary: dict[str, Any]) -> str:
    """Return a summary in lines for the terminal."""
    low, high = summary["miou_interval"]
    bands = ", ".join(f"{w} px {_percent(v)}" for w, v in summary["trimap_miou"].items())
    sizes = ", ".join(
        f"{name} {_percent(one['recall'])} of {one['count']}"
        for name, one in summary["objects"].items()
    )
    lines = [
        f"mIoU's 95 % interval over images  {_percent(low)} to {_percent(high)}",
        f"boundary IoU  {_percent(summary['boundary_iou'])}",
        f"mIoU within  {bands} of the truth's contours",
        f"recall of objects  {sizes}",
    ]
    if "ece" in summary:
        lines.append(f"expected calibration error  {_percent(summary['ece'])}")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _plain(value: Any) -> Any:
    """Return the same for JSON: lists for arrays, null for nan, text for keys."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
