"""What the deeper scores cost: an evaluation with all of them against a plain one.

    python benchmarks/evaluation.py MODEL DATA [data.key=value ...] [--images 40] [--rounds 5]

Stages are timed image by image, one after the other, in several rounds over the same images; the
fastest round of each image and stage counts, which leaves out what other processes take.

Then A against A: the model and the same one with the mirror image averaged in, exchanged by lot on
each image of the split, so that neither side is better. How often does the comparison say so?
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from models import write_result
from topseg.data.dataset import Dataset, open_dataset
from topseg.evaluation.comparison import compare
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.details import details_of, summarize
from topseg.evaluation.images import PerImage
from topseg.evaluation.protocols import Direct
from topseg.inference.hub import load
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Views
from topseg.recipe import read_data

T = TypeVar("T")
LOTS = 1000
PLAIN = ("reading", "image to mask", "confusion matrix")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    predictor = load(arguments.model, threads=1)
    dataset = open_dataset(read_data(arguments.data, arguments.overrides), "val")
    count = min(arguments.images, len(dataset))
    labels, method = dataset.labels, Direct()
    stages: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[..., T], *what: Any) -> T:
        start = time.perf_counter()
        found = function(*what)
        stages.setdefault(name, []).append(time.perf_counter() - start)
        return found

    for _ in range(arguments.rounds):
        matrix = ConfusionMatrix(labels.num_classes, labels.ignore_index)
        more = details_of(labels)
        images = PerImage(labels.num_classes, labels.ignore_index)
        for index in range(count):
            sample = timed("reading", dataset.__getitem__, index)
            found = timed("image to mask", method.compare, predictor, sample)
            what = (found.truth, found.mask, found.logits)
            timed("confusion matrix", matrix.update, *what)
            for one in (*more, images):
                timed(type(one).__name__, one.update, *what)
        timed("interval over images", summarize, more, images)
    means = {
        name: 1000 * np.array(times).reshape(arguments.rounds, -1).min(axis=0).sum() / count
        for name, times in stages.items()
    }
    plain = sum(means[name] for name in PLAIN)
    rows = ["| stage | ms per image | of plain |", "|---|---|---|"]
    rows += [f"| {name} | {value:.2f} | {value / plain:.0%} |" for name, value in means.items()]
    total = sum(means.values())
    rows += [
        f"| **plain**: {', '.join(PLAIN)} | {plain:.2f} | 100 % |",
        f"| **everything** | {total:.2f} | **{total / plain:.2f}x** |",
        "",
        f"{count} images of {found.truth.shape[1]}x{found.truth.shape[0]} pixels, "
        f"{labels.num_classes} classes, engine {predictor.runtime.engine}, one thread.",
        "",
        f"Two ways to predict, exchanged by lot on each of {len(dataset)} images: 'no difference' "
        f"in {exchanged(predictor, dataset)} of {LOTS:,} (a 95 % interval misses one of twenty).",
    ]
    write_result("evaluation", "What the deeper scores cost", "\n".join(rows))


def exchanged(predictor: Predictor, dataset: Dataset) -> int:
    """Return how often two equal sides are called equal."""
    mirrored = Predictor(predictor.runtime, predictor.resize, views=Views(flip=True))
    found, equal = compare(predictor, mirrored, dataset), 0
    for seed in range(LOTS):
        lot = np.random.default_rng(seed).random(len(dataset)) < 0.5
        swap = lot[:, None, None]
        one, two = np.where(swap, found.b, found.a), np.where(swap, found.a, found.b)
        verdict = dataclasses.replace(found, a=one, b=two, seed=seed).verdict()
        equal += verdict.startswith("no difference")
    return equal


if __name__ == "__main__":
    main()
