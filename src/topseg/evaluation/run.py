"""Evaluation: a predictor's masks against the truth of a whole data set.

Every image counts at its own original resolution, unless another protocol is asked for. What is
counted is the accumulators' affair; the confusion matrix is always among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.evaluation.accumulator import Accumulator
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.protocols import Direct, EvaluationProtocol, Method, find_protocol
from topseg.evaluation.scores import Scores
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Slide, Views


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
    accumulators: Sequence[Accumulator] = (),
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
        accumulators: What else to count; each is fed with every image.
        progress: Called after each image with (done, total).

    Raises:
        InputError: No images, or the model's classes are not the data's.
    """
    method, labels = find_protocol(protocol), dataset.labels
    _check_classes(predictor.labels, labels)
    if not len(dataset):
        raise InputError("data: the split has no images; check its folder or list")
    views = Views(flip, tuple(scales) or (1.0,), slide)
    viewer = Predictor(predictor.runtime, predictor.resize, predictor.threads, views)
    confusion = ConfusionMatrix(labels.num_classes, labels.ignore_index)

    def done(count: int) -> None:
        if progress:
            progress(count, len(dataset))

    samples = (dataset[index] for index in range(len(dataset)))
    notes = accumulate(viewer, samples, (confusion, *accumulators), method, done)
    parts = [method.words, *_describe(views)]
    parts += [f"{count} images with {note}" for note, count in notes.items()]
    parts += [limit] if (limit := method.limits(viewer.runtime)) else []
    return Scores(
        labels.names, confusion, len(dataset), method.absent_as_right, protocol=", ".join(parts)
    )


def accumulate(
    predictor: Predictor,
    samples: Iterable[Sample],
    accumulators: Sequence[Accumulator],
    method: EvaluationProtocol = Direct(),  # noqa: B008
    progress: Callable[[int], None] | None = None,
) -> Counter[str]:
    """Feed accumulators with samples.

    Args:
        predictor: The model, with its views.
        samples: Images and truths.
        accumulators: What counts.
        method: The protocol.
        progress: Called after each image with how many are done.

    Returns:
        How many images each note of the protocol was made for.

    Raises:
        InputError: With the image's name: its truth holds a value that is no class.
    """
    notes: Counter[str] = Counter()
    for done, sample in enumerate(samples, start=1):
        found = method.compare(predictor, sample)
        try:
            for accumulator in accumulators:
                accumulator.update(found.truth, found.mask, found.logits)
        except InputError as error:
            raise InputError(f"{sample.name}: {error}") from None
        if found.note:
            notes[found.note] += 1
        if progress:
            progress(done)
    return notes


def _describe(views: Views) -> list[str]:
    """Return the views in words; nothing for the whole image alone."""
    words = []
    if views.scales != (1.0,):
        words.append(f"scales {' '.join(f'{scale:g}' for scale in views.scales)}")
    if views.flip:
        words.append("flip")
    if views.slide:
        (height, width), (down, right) = views.slide.crop, views.slide.stride
        words.append(f"windows of {height}x{width} every {down}x{right}")
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
