"""A run of bulk prediction: every image once, whatever happens on the way.

What is done and unchanged is skipped, what cannot be read is noted, and everything else is handed
to an executor: the threads of this machine, or a cluster.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError, UnreadableError
from topseg.inference.bulk.jobs import WHOLE, Job, Shard, find_jobs
from topseg.inference.bulk.manifest import Line, Manifest, remove_leftovers
from topseg.inference.bulk.outputs import (
    COLOR,
    JSON,
    LEGEND,
    MASK,
    OVERLAY,
    PROBABILITIES,
    PROBABILITY,
    OutputSpec,
)
from topseg.media import drawing
from topseg.media.drawing import Share

_SHOWN = 20


class Executor(Protocol):
    """What does many images: threads of this machine or a cluster.

    Attributes:
        metadata: Of the model.
        fingerprint: Of the model.
    """

    metadata: Metadata
    fingerprint: str

    def run(self, jobs: Sequence[Job], spec: OutputSpec) -> Iterator[Line]:
        """Do every job and yield its line for the manifest, in any order."""
        ...


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        images: How many there were to do.
        before: How many of them an earlier run had done.
        shares: The classes found over all of them with their share of all pixels, the largest
            first.
    """

    images: int
    before: int
    shares: tuple[Share, ...]


def predict_files(
    executor: Executor,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    overlay: bool = False,
    legend: bool = False,
    color: bool = False,
    probability: bool = False,
    probabilities: bool = False,
    json: bool = False,
    shard: Shard = WHOLE,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Write a mask for every image: ``photos/a/b.jpg`` of folder ``photos`` -> ``out/a/b.png``.

    What ``manifest*.jsonl`` in the output folder has as done is skipped, unless the image, the
    model or an output has changed or is gone since.

    Args:
        executor: What does them: ``Threads([topseg.load(MODEL)])``, or a cluster.
        inputs: Image files, folders (searched with their sub-folders, which are mirrored), patterns
            such as ``photos/*.jpg``, and ``.txt`` lists of files (relative to the list's folder;
            "-" is a list from standard input, relative to the current one).
        out: Folder for the masks.
        overlay: Write the mask laid over the image as well (``b_overlay.jpg``).
        legend: Write it with the classes' names and colours below as well (``b_legend.jpg``).
        color: Write the mask in colours as well (``b_color.png``).
        probability: Write the winner's probability as well (``b_probability.png``, 255 = certain).
        probabilities: Write every class's probability as well (``b_probabilities.npz``, an array
            'probabilities' (K, H, W) float16).
        json: Write classes, areas, run lengths and outlines as well (``b.json``).
        shard: Which part of all images to do; all of them if not given.
        progress: Called after each image with (done, total).

    Raises:
        InputError: Before anything is written: nothing to do, two outputs of one name, a folder
            that cannot be written to, or one that another process is writing the same shard to.
        UnreadableError: At the end, all the others being done: the first images that cannot be read
            (the manifest has all).
    """
    # What there is to do, checked before anything is written.
    if (overlay or legend) and executor.metadata.architecture.in_channels != 3:
        raise InputError("overlay: only for models that take three channels; leave it out")
    wanted = {
        MASK: True,
        OVERLAY: overlay,
        LEGEND: legend,
        COLOR: color,
        PROBABILITY: probability,
        PROBABILITIES: probabilities,
        JSON: json,
    }
    kinds = tuple(kind for kind, asked in wanted.items() if asked)
    jobs = find_jobs(inputs, out, kinds, shard)
    _check_writable(out)
    labels = executor.metadata.labels
    pixels = np.zeros(labels.num_classes, np.int64)
    failures, failed = [], 0
    with Manifest(out, shard) as manifest:
        # What earlier runs have done.
        finished = set()
        for line in manifest.done(jobs, executor.fingerprint, kinds):
            if all(int(index) < len(pixels) for index in line["pixels"]):
                finished.add(line["output"])
                _add(pixels, line)
        # The rest, a line in the manifest for each.
        before = len(finished)
        todo = [job for job in jobs if job.output not in finished]
        spec = OutputSpec(out, kinds, executor.fingerprint)
        for done, line in enumerate(executor.run(todo, spec), start=before + 1):
            manifest.append(line)
            if "error" in line:
                failed += 1
                failures += [line["error"]] if failed <= _SHOWN else []
            else:
                _add(pixels, line)
            if progress:
                progress(done, len(jobs))
        remove_leftovers(out, jobs, kinds)
    if failed:
        more = [f"... all of them are in {manifest.path}"] if failed > _SHOWN else []
        head = f"{failed} of {len(jobs)} images could not be read, the others are done:"
        raise UnreadableError("\n".join([head, *failures, *more]))
    return Summary(len(jobs), before, drawing.shares(pixels, labels))


def _add(pixels: np.ndarray[tuple[int], np.dtype[np.int64]], line: Line) -> None:
    for index, count in line["pixels"].items():
        pixels[int(index)] += count


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write here ({error.strerror}); choose another --out"
        ) from None
