"""Evaluation: a predictor's masks against the truth of a whole data set.

Every image counts at its own original resolution. Only integer counts are kept, so memory does not
grow with the data set. The protocols differ in how a mask is made and at which size it is compared;
``docs/evaluation.md`` says what each is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, get_args

import cv2
import numpy as np

from topseg.core.errors import InputError, did_you_mean
from topseg.core.labels import LabelSet, Mask
from topseg.data.sample import Sample
from topseg.evaluation.metrics import ConfusionMatrix, Scores
from topseg.evaluation.reference import reference_mask
from topseg.inference.predict import Predictor
from topseg.inference.tta import Slide, Views, input_size
from topseg.inference.upsample import upsample_argmax

Method = Literal["direct", "reference", "network"]
"""How masks are made and compared."""


class Samples(Protocol):
    """What can be evaluated: a ``Dataset``, or a part of one."""

    @property
    def labels(self) -> LabelSet:
        """The classes."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def evaluate(
    predictor: Predictor,
    dataset: Samples,
    *,
    flip: bool = False,
    scales: Sequence[float] = (),
    slide: Slide | None = None,
    protocol: Method = "direct",
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Measure a model on a labelled data set.

    Args:
        predictor: The model.
        dataset: Images and truths; read one at a time.
        flip: Average with the mirror image.
        scales: Average over these factors on the network's input size; empty: 1 alone.
        slide: Windows instead of the whole image.
        protocol: "direct": masks as ``predictor`` makes them, at each image's own size.
            "reference": PaddleSeg's interpolations and its way of counting absent classes.
            "network": at the network's input size, the truth resized to it. Some toolkits print
            that; it flatters, and it is no substitute for the others.
        progress: Called after each image with (done, total).

    Raises:
        InputError: No images, or the model's classes are not the data's.
    """
    if protocol not in get_args(Method):
        raise InputError(f"protocol: got '{protocol}'{did_you_mean(protocol, get_args(Method))}")
    labels = dataset.labels
    _check_classes(predictor.labels, labels)
    if not len(dataset):
        raise InputError("data: the split has no images; check its folder or list")
    views = Views(flip, tuple(scales) or (1.0,), slide)
    viewer = Predictor(predictor.runtime, predictor.resize, predictor.threads, views)
    confusion, rounded = ConfusionMatrix(labels.num_classes), 0
    for index in range(len(dataset)):
        sample = dataset[index]
        truth = sample.mask
        if protocol == "reference":
            mask, changed = reference_mask(viewer.runtime, sample.image, viewer.resize, views)
            rounded += changed
        elif protocol == "network":
            shape = (truth.shape[0], truth.shape[1])
            size = input_size(viewer.runtime, viewer.resize, shape)
            mask = upsample_argmax(viewer.logits(sample.image), size, viewer.threads)
            truth = _nearest(truth, size)
        else:
            mask = viewer(sample.image).mask
        try:
            confusion.update(truth, mask, labels.ignore_index)
        except InputError as error:
            raise InputError(f"{sample.name}: {error}") from None
        if progress:
            progress(index + 1, len(dataset))
    text = _describe(protocol, views)
    if rounded:
        text += f", {rounded} images with scales rounded to multiples of 32"
    if protocol == "reference" and not getattr(viewer.runtime, "takes_float", False):
        text += ", resized images rounded to bytes (the torch runtime takes floats)"
    return Scores(labels.names, confusion, len(dataset), protocol == "reference", text)


def _nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    """Resize a mask, each pixel taking the value under its centre."""
    resized = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, mask.dtype)


def _describe(protocol: Method, views: Views) -> str:
    words = {
        "direct": "original resolution",
        "reference": "original resolution, by the reference's protocol",
        "network": "NETWORK resolution (not comparable with the original resolution)",
    }[protocol]
    if views.scales != (1.0,):
        words += f", scales {' '.join(f'{scale:g}' for scale in views.scales)}"
    words += ", flip" if views.flip else ""
    if views.slide:
        (height, width), (down, right) = views.slide.crop, views.slide.stride
        words += f", windows of {height}x{width} every {down}x{right}"
    return words


def _check_classes(model: LabelSet, data: LabelSet) -> None:
    if model.num_classes != data.num_classes:
        raise InputError(
            f"data: has {data.num_classes} classes, but the model has {model.num_classes}; "
            "evaluate on data with the model's classes, or map the data's (data.label_map)"
        )
    if model.names != data.names and set(model.names) == set(data.names):
        raise InputError(
            "data: has the model's classes in another order; order data.classes as the model does"
        )
