"""Evaluation: a predictor's masks against the truth of a whole data set.

Every image counts at its own original resolution. Only integer counts are kept, so memory does not
grow with the data set.
"""

from __future__ import annotations

from collections.abc import Callable

from topseg.data.dataset import Dataset
from topseg.errors import InputError
from topseg.labels import LabelSet
from topseg.metrics import ConfusionMatrix, Scores
from topseg.predict import Predictor
from topseg.tta import Slide, Views


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    flip: bool = False,
    scales: tuple[float, ...] = (),
    slide: Slide | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Measure a model on a labelled data set.

    Args:
        predictor: The model.
        dataset: Images and truths; read one at a time.
        flip: Average with the mirror image.
        scales: Average over these factors on the network's input size; empty: 1 alone.
        slide: Windows instead of the whole image.
        progress: Called after each image with (done, total).

    Raises:
        InputError: No images, or the model's classes are not the data's.
    """
    _check_classes(predictor.labels, dataset.labels)
    if not len(dataset):
        raise InputError("data: the split has no images; check its folder or list")
    views = Views(flip, tuple(scales) or (1.0,), slide)
    viewer = Predictor(predictor.runtime, predictor.resize, predictor.threads, views)
    confusion = ConfusionMatrix(dataset.labels.num_classes)
    for index in range(len(dataset)):
        sample = dataset[index]
        confusion.update(sample.mask, viewer(sample.image).mask, dataset.labels.ignore_index)
        if progress:
            progress(index + 1, len(dataset))
    return Scores(dataset.labels.names, confusion, images=len(dataset))


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
