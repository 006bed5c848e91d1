"""Robustness: the same data set with worse pictures, one kind of fault at a time.

The kinds are those that cameras and networks make: sensor noise, a lens out of focus, strong JPEG,
too much or too little light, and small pictures. Each is a function of the image and its number, so
that every model meets the same faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.evaluation.run import Samples, evaluate
from topseg.evaluation.scores import Scores
from topseg.inference.predictor import Predictor
from topseg.media.images import Image

Fault = Callable[[Image, np.random.Generator], Image]
"""From an image (H, W, C) uint8 to one of the same shape."""


def _noise(image: Image, rng: np.random.Generator) -> Image:
    noisy = image + rng.normal(0, 20, image.shape).astype(np.float32)
    return np.asarray(np.rint(noisy).clip(0, 255), np.uint8)


def _blur(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), np.uint8).reshape(image.shape)


def _jpeg(image: Image, rng: np.random.Generator) -> Image:
    planes = []  # each by itself: an image may have any number of channels
    for plane in np.moveaxis(image, 2, 0):
        data = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
        planes.append(np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8))
    return np.stack(planes, axis=2)


def _dark(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(np.rint(image * np.float32(0.4)), np.uint8)


def _bright(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(np.rint(image * np.float32(1.6)).clip(0, 255), np.uint8)


def _small(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    size = (max(1, width // 4), max(1, height // 4))
    planes = []  # each by itself: OpenCV averages at most four channels
    for plane in np.moveaxis(image, 2, 0):
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        planes.append(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.stack(planes, axis=2).astype(np.uint8)


FAULTS: Final[dict[str, Fault]] = {
    "noise": _noise,
    "blur": _blur,
    "jpeg": _jpeg,
    "dark": _dark,
    "bright": _bright,
    "small": _small,
}
"""Noise of 20 grey values, blur of 2 pixels, JPEG of quality 10, light x 0.4 and x 1.6, a quarter
of the resolution."""


@dataclasses.dataclass(frozen=True)
class Faulty:
    """A data set with one fault.

    Attributes:
        dataset: The images as they are.
        fault: What is done to them.
    """

    dataset: Samples
    fault: Fault

    @property
    def labels(self) -> LabelSet:
        """The classes."""
        return self.dataset.labels

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        image = self.fault(sample.image, np.random.default_rng(index))
        return dataclasses.replace(sample, image=image)


def evaluate_faults(
    predictor: Predictor,
    dataset: Samples,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Scores]:
    """Measure a model on each kind of fault.

    Args:
        predictor: The model.
        dataset: Images and truths.
        progress: Called after each image with (done, total), over all kinds.

    Returns:
        The scores of each kind, by its name.
    """
    found: dict[str, Scores] = {}
    for kind, (name, fault) in enumerate(FAULTS.items()):

        def tell(done: int, total: int, before: int = kind * len(dataset)) -> None:
            if progress:
                progress(before + done, len(FAULTS) * total)

        found[name] = evaluate(predictor, Faulty(dataset, fault), progress=tell)
    return found
