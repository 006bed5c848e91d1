"""Outputs: what is written for one image, and what the manifest says of it."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.inference.bulk.jobs import Job
from topseg.inference.bulk.manifest import Line, stamp
from topseg.inference.prediction import Prediction
from topseg.inference.predictor import Predictor
from topseg.media import drawing

MASK, OVERLAY, COLOR = ".png", "_overlay.jpg", "_color.png"
PROBABILITY, PROBABILITIES = "_probability.png", "_probabilities.npz"
LEGEND, JSON = "_legend.jpg", ".json"


_NO_USE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Errors of writing that every other image would meet too."""


class OutputSpec(NamedTuple):
    """What is wanted of every image.

    Attributes:
        out: Folder for the outputs.
        kinds: Their suffixes.
        model: Fingerprint of the model.
    """

    out: Path
    kinds: tuple[str, ...]
    model: str


def predict_one(predictor: Predictor, job: Job, spec: OutputSpec) -> Line:
    """Do one image: all its outputs, or none and an error.

    Args:
        predictor: The model.
        job: The image.
        spec: What is wanted.

    Returns:
        The line for the manifest.

    Raises:
        InputError: The disk is full or broken: no other image's outputs could be written either.
    """
    about = job._asdict()
    before = stamp(job.image)  # first: what changes while it is read counts as changed
    try:
        keep = PROBABILITY in spec.kinds or PROBABILITIES in spec.kinds
        prediction = predictor(job.image, keep_logits=keep)
        data = {kind: _encode(prediction, kind) for kind in spec.kinds}
        for kind, content in data.items():
            write_bytes(spec.out / f"{job.output}{kind}", content)
    except InputError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError) and cause.errno in _NO_USE:
            raise
        return about | {"error": str(error)}
    except Exception as error:  # one image never ends a run
        return about | {"error": f"{job.image!r}: {type(error).__name__}: {error}"}
    count = drawing.count_pixels(prediction.mask, prediction.labels)
    return about | {
        "read": before,
        "model": spec.model,
        "written": {kind: stamp(spec.out / f"{job.output}{kind}") for kind in spec.kinds},
        "pixels": {str(index): int(count[index]) for index in np.flatnonzero(count)},
    }


def _encode(prediction: Prediction, kind: str) -> bytes:
    if kind == OVERLAY:
        return drawing.picture_jpeg(prediction.overlay())
    if kind == COLOR:
        return drawing.picture_png(prediction.color())
    if kind == PROBABILITY:
        return drawing.picture_png(np.rint(prediction.probability() * 255).astype(np.uint8))
    if kind == PROBABILITIES:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, probabilities=prediction.probabilities())
        return buffer.getvalue()
    if kind == LEGEND:
        return drawing.picture_jpeg(prediction.overlay(legend=True))
    if kind == JSON:
        return prediction.to_json()
    return drawing.mask_png(prediction.mask, prediction.labels)
