"""Comparison: two models on the same images, with intervals by a paired bootstrap."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.evaluation.bootstrap import Interval, paired_interval
from topseg.evaluation.images import Counts, PerImage, iou, miou
from topseg.evaluation.run import Samples
from topseg.inference.predictor import Predictor


@dataclass(frozen=True)
class PairedScores:
    """What two models made of the same images.

    Attributes:
        labels: The classes.
        images: Names of the images.
        a: (images, 3, K) counts of the first model, as ``PerImage`` keeps them.
        b: The same of the second.
        disagreement: (images,) share of an image's labelled pixels where the masks differ.
        seconds: (2, images) from pixels to mask, of each model.
        seed: Of the draws of the intervals.
    """

    labels: LabelSet
    images: tuple[str, ...]
    a: Counts
    b: Counts
    disagreement: NDArray[np.float64]
    seconds: NDArray[np.float64]
    seed: int = 0

    @property
    def miou(self) -> tuple[float, float]:
        """Mean IoU of each model over all images."""
        return float(miou(self.a.sum(axis=0))), float(miou(self.b.sum(axis=0)))

    @functools.cached_property
    def difference(self) -> Interval:
        """Mean IoU of the second model less that of the first, with its 95 % interval."""
        return paired_interval(self.a, self.b, seed=self.seed)

    @functools.cached_property
    def class_difference(self) -> Interval:
        """The same for each class."""
        return paired_interval(self.a, self.b, iou, seed=self.seed)

    def is_worse(self, points: float = 0.0) -> bool:
        """Return whether the second model is worse by more than this, by its whole interval.

        Args:
            points: Of mean IoU, 0..100.
        """
        return bool(100 * self.difference.high < -points)

    def verdict(self) -> str:
        """Return the comparison in one sentence."""
        found = self.difference
        value, low, high = (f"{100 * float(v):+.2f}" for v in (found.value, found.low, found.high))
        word = "no difference"
        if found.low > 0 or found.high < 0:
            word = "B is better" if found.low > 0 else "B is worse"
        return f"{word}: mIoU {value} points (95 % interval {low} to {high})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        whole, classes = self.difference, self.class_difference
        per_class = zip(self.labels.names, classes.value, classes.low, classes.high, strict=True)
        return {
            "images": len(self.images),
            "miou": [_plain(value) for value in self.miou],
            "difference": [_plain(v) for v in (whole.value, whole.low, whole.high)],
            "classes": [
                {"name": name, "difference": [_plain(v) for v in ends]} for name, *ends in per_class
            ],
            "median_ms": [float(v) for v in 1000 * np.median(self.seconds, axis=1)],
        }


def compare(
    a: Predictor,
    b: Predictor,
    dataset: Samples,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PairedScores:
    """Compare two models on a labelled data set; each image is read once for both.

    Args:
        a: The first model, the one to beat.
        b: The second.
        dataset: Images and truths.
        seed: Of the draws of the intervals.
        progress: Called after each image with (done, total).

    Raises:
        InputError: No images, or models whose classes are not the data's.
    """
    labels = dataset.labels
    for name, model in (("A", a), ("B", b)):
        if model.labels.names != labels.names:
            raise InputError(
                f"{name}: its classes are not the data's; compare models of the data's classes"
            )
    if not len(dataset):
        raise InputError("data: the split has no images; check its folder or list")
    counts = [PerImage(labels.num_classes, labels.ignore_index) for _ in range(2)]
    images, disagreement, seconds = [], [], []
    for index in range(len(dataset)):
        sample = dataset[index]
        masks, times = [], []
        for model, one in zip((a, b), counts, strict=True):
            start = time.perf_counter()
            masks.append(model(sample.image).mask)
            times.append(time.perf_counter() - start)
            one.update(sample.mask, masks[-1])
        valid = sample.mask != labels.ignore_index
        images.append(sample.name)
        disagreement.append((masks[0] != masks[1])[valid].mean() if valid.any() else 0.0)
        seconds.append(times)
        if progress:
            progress(index + 1, len(dataset))
    return PairedScores(
        labels,
        tuple(images),
        counts[0].stacked(),
        counts[1].stacked(),
        np.array(disagreement),
        np.array(seconds).T,
        seed,
    )


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
