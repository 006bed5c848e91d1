"""Protocols: how a mask is made, where it is compared with the truth, how absent classes count.

``docs/evaluation.md`` says what each is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

import cv2
import numpy as np

from topseg.core.errors import InputError, did_you_mean
from topseg.core.geometry import Size
from topseg.core.labels import Mask
from topseg.data.sample import Sample
from topseg.evaluation.reference import reference_mask
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Logits
from topseg.runtimes.base import Runtime

Method = Literal["direct", "reference", "network"]
"""Names of the protocols."""


@dataclass(frozen=True)
class Comparison:
    """One image's truth and prediction at one size.

    Attributes:
        truth: (H, W) class indices.
        mask: (H, W) predicted class indices.
        logits: (K, h, w) that the mask was made from, where there are any.
        note: What was done otherwise than the protocol says.
    """

    truth: Mask
    mask: Mask
    logits: Logits | None
    note: str | None = None


class EvaluationProtocol(Protocol):
    """One way of measuring.

    Attributes:
        name: What it is called on the command line.
        words: What it is called beside a score.
        absent_as_right: Whether a class that is neither in the truth nor predicted counts as right.
    """

    @property
    def name(self) -> Method: ...  # noqa: D102
    @property
    def words(self) -> str: ...  # noqa: D102
    @property
    def absent_as_right(self) -> bool: ...  # noqa: D102

    def compare(self, predictor: Predictor, sample: Sample) -> Comparison:
        """Predict an image and bring prediction and truth to one size."""
        ...

    def limits(self, runtime: Runtime) -> str | None:
        """Return what this engine cannot do as the protocol says; None: nothing."""
        ...


@dataclass(frozen=True)
class Direct:
    """The mask that ``predict`` writes, at the image's own size."""

    name: Method = "direct"
    words: str = "original resolution"
    absent_as_right: bool = False

    def compare(self, predictor: Predictor, sample: Sample) -> Comparison:
        """Predict an image."""
        found = predictor(sample.image, keep_logits=True)
        return Comparison(sample.mask, found.mask, found.logits)

    def limits(self, runtime: Runtime) -> str | None:
        """Return None: every engine will do."""
        return None


@dataclass(frozen=True)
class Reference:
    """PaddleSeg's interpolations and its way of counting absent classes."""

    name: Method = "reference"
    words: str = "original resolution, by the reference's protocol"
    absent_as_right: bool = True

    def compare(self, predictor: Predictor, sample: Sample) -> Comparison:
        """Predict an image as the reference does; there are no logits of one stride."""
        mask, rounded = reference_mask(
            predictor.runtime, sample.image, predictor.resize, predictor.views
        )
        note = "scales rounded to multiples of 32" if rounded else None
        return Comparison(sample.mask, mask, None, note)

    def limits(self, runtime: Runtime) -> str | None:
        """Return what an engine does that takes bytes only."""
        if getattr(runtime, "takes_float", False):
            return None
        return "resized images rounded to bytes (the torch runtime takes floats)"


@dataclass(frozen=True)
class Network:
    """Mask and truth at the network's input size.

    Some toolkits print that; it flatters, and it is no substitute for the others.
    """

    name: Method = "network"
    words: str = "NETWORK resolution (not comparable with the original resolution)"
    absent_as_right: bool = False

    def compare(self, predictor: Predictor, sample: Sample) -> Comparison:
        """Predict an image and shrink its truth, each pixel taking the value under its centre."""
        height, width = sample.mask.shape
        size = predictor.network_size((height, width))
        logits = predictor.logits(sample.image)
        return Comparison(_nearest(sample.mask, size), predictor.finish(logits, size).mask, logits)

    def limits(self, runtime: Runtime) -> str | None:
        """Return None: every engine will do."""
        return None


PROTOCOLS: Final[tuple[EvaluationProtocol, ...]] = (Direct(), Reference(), Network())


def find_protocol(name: str) -> EvaluationProtocol:
    """Return a protocol by its name.

    Raises:
        InputError: There is none of this name.
    """
    for protocol in PROTOCOLS:
        if protocol.name == name:
            return protocol
    raise InputError(f"protocol: got '{name}'{did_you_mean(name, get_args(Method))}")


def _nearest(mask: Mask, size: Size) -> Mask:
    resized = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, mask.dtype)
