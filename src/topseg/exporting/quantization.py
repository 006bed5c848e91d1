"""Quantisation: a graph in int8, beside the float graph that it was made from.

The float graph is written first, quantised as a file, and timed beside the other: both run in turn
on the same image, so that a busy machine slows both alike.

Weights have one scale for each channel and 7 bits: two products of 8 bits overflow the 16-bit sum
of processors without VNNI, silently. A range is the mean over the images of each one's extremes,
which a single odd image cannot stretch. What stays in float is what gained no speed or lost
accuracy; ``docs/int8.md`` has the figures.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from topseg.bundle.bundle import Bundle, graph_bytes
from topseg.bundle.metadata import Graph, Metadata, Quantization
from topseg.core.errors import InputError
from topseg.core.files import find_images
from topseg.core.geometry import Size
from topseg.data.dataset import Dataset
from topseg.exporting.formats import Format
from topseg.exporting.graphs.source import Batch, Source
from topseg.media.images import Image, read_image
from topseg.runtimes.base import Runtime, check_images

CALIBRATION = 64
"""Images that the ranges of int8 are taken from."""

_REPEATS = 20


def quantize(form: Format, source: Source, folder: Path, batches: Sequence[Batch]) -> Graph:
    """Write one format's graph in int8.

    Args:
        form: A format that has an 8-bit form.
        source: The network, its precision fp32.
        folder: Where the graph goes.
        batches: Images (1, H, W, C) to calibrate on; :func:`calibration_batches` makes them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        aside = Path(temporary)
        plain = form.write(source, aside)
        if plain.fixed_size is not None:
            batches = [_resized(batch[0], plain.fixed_size) for batch in batches]
        layers = form.quantize(aside / plain.file, folder / plain.file, batches)
        graph = dataclasses.replace(plain, precision="int8")
        runtimes = [
            form.open(Bundle(where, source.metadata), one, threads=1)
            for where, one in ((aside, plain), (folder, graph))
        ]
        before, after = _time_in_turn(runtimes, batches[0])
        quantization = Quantization(
            calibration_images=len(batches),
            float_layers=layers,
            bytes=graph_bytes(folder / graph.file),
            float_bytes=graph_bytes(aside / graph.file),
            network_size=(batches[0].shape[1], batches[0].shape[2]),
            network_ms=after,
            float_network_ms=before,
        )
    return dataclasses.replace(graph, quantization=quantization)


def calibration_images(
    source: Dataset | Path, channels: int = 3, scale: float | None = None
) -> Iterator[Image]:
    """Return at most ``CALIBRATION`` images, spread evenly, always the same.

    Args:
        source: A data set (its masks are not used), or a folder of images.
        channels: Channels of an image.
        scale: Factor from 16-bit values to 0..255.

    Raises:
        InputError: A folder without images, or a file that cannot be read.
    """
    if isinstance(source, Dataset):
        files = [source.paths(index)[0] for index in range(len(source))]
    else:
        files = find_images(source) if source.is_dir() else []
        if not files:
            raise InputError(f"{source}: no images to calibrate on; give a folder of images")
    chosen = np.linspace(0, len(files) - 1, min(CALIBRATION, len(files))).round().astype(int)
    return (read_image(files[i], channels, scale) for i in chosen)


def calibration_batches(images: Iterable[Image], metadata: Metadata) -> list[Batch]:
    """Bring each image to the network's size for it, (1, H, W, C).

    Raises:
        InputError: There are no images, or one has other channels.
    """
    rule = metadata.resize
    batches = [_resized(one, rule.network_size((one.shape[0], one.shape[1]))) for one in images]
    if not batches:
        raise InputError(
            "precision int8: no images to calibrate on; give --data, whose training split is used, "
            "or a folder of images with --calibration"
        )
    for batch in batches:
        check_images(batch, metadata)
    return batches


def describe(quantization: Quantization) -> str:
    """Return one line about what int8 changed."""
    q = quantization
    height, width = q.network_size
    return (
        f"int8 from {q.calibration_images} images, {q.bytes / 1e6:.1f} MB instead of "
        f"{q.float_bytes / 1e6:.1f}, network {q.network_ms:.1f} ms instead of "
        f"{q.float_network_ms:.1f} ({q.network_ms / q.float_network_ms:.2f} times) at "
        f"{height}x{width} on one thread, {len(q.float_layers)} layers left in float"
    )


def _resized(image: Image, size: Size) -> Batch:
    resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8).reshape(1, *size, -1)


def _time_in_turn(runtimes: Sequence[Runtime], batch: Batch) -> tuple[float, ...]:
    """Return each runtime's median time for a batch in milliseconds."""
    times = np.empty((_REPEATS + 1, len(runtimes)))
    for row in times:
        for lane, runtime in enumerate(runtimes):
            start = time.perf_counter()
            runtime(batch)
            row[lane] = time.perf_counter() - start
    return tuple(float(ms) for ms in np.median(times[1:], axis=0) * 1000)  # the first warms up
