"""Proof: a graph runs on its own engine beside torch before anybody gets it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import Graph, Proof
from topseg.core.errors import InputError
from topseg.core.geometry import STRIDE, ResizeRule, Size
from topseg.data.dataset import Dataset
from topseg.evaluation.run import evaluate
from topseg.exporting.formats import FORMATS
from topseg.inference.predictor import Predictor
from topseg.inference.upsample import upsample_argmax
from topseg.media.images import Image
from topseg.runtimes.base import Runtime
from topseg.runtimes.registry import UnavailableError, find_engine

AGREEMENT = {"fp32": 0.999, "fp16": 0.995, "int8": 0.9}
"""Smallest share of pixels whose class must stay, by the type that the weights are stored in; for
int8 only what no working graph falls below, its bar is the mIoU."""


def proof_sizes(rule: ResizeRule) -> tuple[Size, ...]:
    """Return sizes to compare at: the declared one, odd multiples of its multiple, a small one."""
    side = rule.network_size((512, 512))[0]
    odd = (side // rule.multiple) | 1
    return (side, side), (odd * rule.multiple, (odd + 2) * rule.multiple), (2 * 64, 3 * 64)


def prove(
    bundle: Bundle,
    name: str,
    reference: Runtime,
    images: Sequence[Image],
    *,
    dataset: Dataset | None = None,
    max_drop: float = 1.0,
    report: Callable[[str], None] = print,
) -> Proof | None:
    """Run a graph on its own engine beside torch.

    Args:
        bundle: A bundle with the graph.
        name: Of the graph's format.
        reference: The torch runtime.
        images: (H, W, C) images to compare on.
        dataset: Labelled images, on which the difference of the mIoU is measured as well.
        max_drop: Most points of mIoU that int8 may lose.
        report: Takes one line about the graph.

    Returns:
        The proof; None where the graph cannot run on this machine.

    Raises:
        InputError: The masks differ on more pixels than ``AGREEMENT`` allows, or int8 loses more
            than ``max_drop`` points of mIoU.
    """
    graph = bundle.metadata.graphs[name]
    try:
        runtime = FORMATS[name].open(bundle, graph)
    except UnavailableError as error:
        report(f"{name}: not verified ({error})")
        return None

    # Logits or masks of the same batches.
    fixed = graph.fixed_size
    sizes = proof_sizes(bundle.metadata.resize) if fixed is None else (fixed,)
    comparison = _Comparison()
    for batch in _batches(images, sizes if fixed is None else sizes * 3):
        comparison.add(reference(batch), runtime(batch), masks=graph.tail)
    bar = AGREEMENT[graph.precision]
    if comparison.agreement < bar:
        raise InputError(
            f"{name}: masks agree with torch on {comparison.agreement:.3%} of the pixels, expected "
            f"at least {bar:.1%}; first difference: {comparison.first}"
        )

    # The mIoU of both on labelled images.
    difference = None
    if dataset is not None and not graph.tail:
        reference = copy.copy(reference)
        reference.fixed_size = fixed  # both make their masks at the same size
        scores = [evaluate(Predictor(engine), dataset).miou for engine in (runtime, reference)]
        difference = scores[0] - scores[1]
        _check_drop(name, graph, scores, max_drop)
    proof = Proof(
        runtime=find_engine(runtime.engine).version,
        images=comparison.images,
        sizes=sizes,
        max_abs_difference=comparison.difference,
        mask_agreement=comparison.agreement,
        miou_difference=difference,
    )
    report(
        f"{name}: verified on {proof.runtime}: {proof.mask_agreement:.4%} of pixels equal"
        + ("" if graph.tail else f", logits within {proof.max_abs_difference:.1e}")
        + ("" if difference is None else f", mIoU {difference:+.4%}")
    )
    return proof


def _check_drop(name: str, graph: Graph, scores: Sequence[float], max_drop: float) -> None:
    """Check that int8 loses no more than is allowed.

    Args:
        name: Of the format.
        graph: The graph.
        scores: mIoU of the graph and of torch, 0..1.
        max_drop: In points.
    """
    drop = 100 * (scores[1] - scores[0])
    if graph.quantization and drop > max_drop:
        raise InputError(
            f"{name}: int8 loses {drop:.2f} points of mIoU ({scores[1]:.2%} -> {scores[0]:.2%}), "
            f"expected at most {max_drop:g}; calibrate on more or other images (got "
            f"{graph.quantization.calibration_images}), or allow it with --max-drop"
        )


class _Comparison:
    """Differences between torch's logits and an engine's answers, over many batches."""

    def __init__(self) -> None:
        self.images = 0
        self.difference = 0.0
        self.first = ""
        self._pixels = 0
        self._equal = 0

    @property
    def agreement(self) -> float:
        return self._equal / self._pixels

    def add(self, expected: NDArray[Any], got: NDArray[Any], *, masks: bool) -> None:
        """Compare (B, K, h, w) logits with logits, or with (B, 8 h, 8 w) masks."""
        size = (expected.shape[2] * STRIDE, expected.shape[3] * STRIDE)
        truth = upsample_argmax(expected, size)
        found = got if masks else upsample_argmax(got, size)
        if not masks:
            self.difference = max(self.difference, float(np.abs(expected - got).max()))
        differs = np.argwhere(truth != found)
        if len(differs) and not self.first:
            image, y, x = (int(i) for i in differs[0])
            self.first = (
                f"image {self.images + image} at {size[0]}x{size[1]}, row {y}, column {x}: class "
                f"{found[image, y, x]} instead of {truth[image, y, x]}"
            )
        self.images += len(expected)
        self._pixels += truth.size
        self._equal += truth.size - len(differs)


def _batches(images: Sequence[Image], sizes: Sequence[Size]) -> Iterator[Image]:
    """Return, for every size, a batch of one image and a batch of two."""
    count = 0
    for height, width in sizes:
        for batch in (1, 2):
            chosen = [images[(count + i) % len(images)] for i in range(batch)]
            count += batch
            yield np.stack([cv2.resize(image, (width, height)) for image in chosen])
