"""Pictures: images beside their truth and their prediction, small enough to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.geometry import Size
from topseg.core.labels import LabelSet, Mask
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.run import Samples
from topseg.evaluation.scores import Scores
from topseg.inference.predictor import Predictor
from topseg.media.drawing import Picture, colorize
from topseg.report.html import cell, fit

_LARGEST = 640
"""Longest side of a picture on the page, in pixels."""
_LOOKED_AT = 100
"""Images of a data set that the examples are chosen from, evenly spaced."""
_WRONG = (255, 45, 85)


@dataclass(frozen=True)
class Example:
    """One labelled image and what the model made of it.

    Attributes:
        name: Of the image.
        image: (H, W, C) uint8.
        truth: (H, W) class indices.
        prediction: (H, W) class indices.
    """

    name: str
    image: NDArray[np.uint8]
    truth: Mask
    prediction: Mask

    def scores(self, labels: LabelSet) -> Scores:
        """Return the scores of this image alone."""
        confusion = ConfusionMatrix(labels.num_classes, labels.ignore_index)
        confusion.update(self.truth, self.prediction)
        return Scores(labels.names, confusion, images=1)


def choose_examples(predictor: Predictor, dataset: Samples, count: int = 8) -> list[Example]:
    """Predict images of a data set and keep some, from the worst to the best.

    Args:
        predictor: The model.
        dataset: Images and truths.
        count: How many to keep; evenly spaced in the order of the share of right pixels.
    """
    looked_at = spread(len(dataset), _LOOKED_AT)
    right = [
        predict_example(predictor, dataset, i).scores(dataset.labels).accuracy for i in looked_at
    ]
    order = np.argsort(right, kind="stable")
    return [
        predict_example(predictor, dataset, looked_at[order[i]])
        for i in spread(len(looked_at), count)
    ]


def example_figure(example: Example, labels: LabelSet) -> str:
    """Return a ``<figure>``: image, truth, prediction, and where the two differ."""
    size = fit((example.truth.shape[0], example.truth.shape[1]), _LARGEST)
    image = shrink_image(example.image, size)
    truth, prediction = shrink_mask(example.truth, size), shrink_mask(example.prediction, size)
    wrong = (truth != prediction) & (truth != labels.ignore_index)
    scores, name = example.scores(labels), escape(example.name)
    pictures = (
        ("image", image, True),
        ("truth", colorize(truth, labels), False),
        ("prediction", colorize(prediction, labels), False),
        ("differences", differences(image, wrong), True),
    )
    cells = "".join(
        cell(what, one, f"{what} of {name}", photo=photo) for what, one, photo in pictures
    )
    return (
        f'<figure class="example"><div class="row">{cells}</div><figcaption><b>{name}</b> '
        f"{scores.accuracy:.1%} of the pixels right, mIoU {scores.miou:.3f}</figcaption></figure>"
    )


def predict_example(predictor: Predictor, dataset: Samples, index: int) -> Example:
    """Return an image of a data set with the model's mask."""
    sample = dataset[index]
    return Example(sample.name, sample.image, sample.mask, predictor(sample.image).mask)


def spread(total: int, count: int) -> list[int]:
    """Choose up to ``count`` of the indices below ``total``, from the first to the last."""
    return sorted({round(i) for i in np.linspace(0, total - 1, min(count, total)).tolist()})


def shrink_image(image: NDArray[np.uint8], size: Size) -> Picture:
    """Return an image of any channels as RGB of a size (height, width)."""
    rgb = image[..., [0, 0, 0] if image.shape[2] < 3 else [0, 1, 2]]
    return np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def shrink_mask(mask: Mask, size: Size) -> Mask:
    """Return a mask at a size (height, width), by nearest neighbours."""
    small = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(small, mask.dtype)


def differences(image: Picture, wrong: NDArray[np.bool_]) -> Picture:
    """Paint wrong pixels over the image, which is grey and dark elsewhere."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] * np.full(3, 0.45)
    return np.where(wrong[..., None], _WRONG, grey).astype(np.uint8)
