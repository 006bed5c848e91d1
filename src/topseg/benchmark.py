"""Benchmark: how long an image takes from file to mask, stage by stage, on each engine.

"Network" alone and "image to mask" are separate columns and never mixed. Every configuration runs
in a process of its own, so that memory and thread settings of one do not touch the next.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import multiprocessing
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.bundle import Bundle
from topseg.drawing import mask_png
from topseg.errors import InputError
from topseg.geometry import Size
from topseg.images import read_image
from topseg.runtimes import RUNTIMES, open_runtime
from topseg.upsample import upsample_argmax

STAGES = ("decode", "resize", "network", "tail", "encode")
WARM_UP = 3
_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one stage in milliseconds."""

    minimum: float
    median: float
    p90: float
    p99: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Timing:
        """Summarise repeated measurements."""
        ms = seconds * 1000
        return cls(float(ms.min()), *(float(q) for q in np.percentile(ms, (50, 90, 99))))


@dataclass(frozen=True)
class Measurement:
    """One engine with one number of threads at one network size."""

    runtime: str
    version: str
    threads: int
    size: Size
    """(height, width) of the network's input."""
    image_size: Size
    """(height, width) of the image, and of the mask."""
    repeats: int
    stages: dict[str, Timing]
    """Each of ``STAGES``."""
    total: Timing
    """From the file's bytes to the mask's bytes."""
    model_bytes: int
    memory_bytes: int
    """Largest resident memory of the process."""


def bench(
    bundle: Bundle,
    image: Path,
    *,
    runtimes: Sequence[str] = (),
    sizes: Sequence[Size] = ((512, 512),),
    threads: Sequence[int] = (1,),
    seconds: float = 5.0,
    progress: Callable[[str], None] = print,
) -> list[Measurement]:
    """Measure every combination of engine, size and threads.

    Args:
        bundle: The model.
        image: A file to decode, whose own size the mask gets.
        runtimes: Names of ``RUNTIMES``; empty: torch and every graph in the bundle.
        sizes: (height, width) of the network's input, multiples of 32.
        threads: CPU threads of network and tail.
        seconds: How long each is repeated (at least ten times).
        progress: Takes the name of what is measured next.

    Raises:
        InputError: A runtime that the bundle has no graph for, a size that does not fit, or an
            image that cannot be read.
    """
    names = runtimes or [n for n in RUNTIMES if n in bundle.metadata.graphs or n == "torch"]
    found = []
    context = multiprocessing.get_context("spawn")
    for name in names:
        for size in sizes:
            for count in threads:
                progress(f"{name}, {size[0]}x{size[1]}, threads {count}")
                with concurrent.futures.ProcessPoolExecutor(1, context) as alone:
                    job = alone.submit(measure, bundle, image, name, size, count, seconds)
                    found.append(job.result())
    return found


def measure(
    bundle: Bundle, image: Path, name: str, size: Size, threads: int, seconds: float
) -> Measurement:
    """Measure one combination in this process; see :func:`bench`."""
    cv2.setNumThreads(threads)
    metadata = bundle.metadata
    runtime = open_runtime(bundle, name, device="cpu", threads=threads)
    if any(side % 32 or side < 32 for side in size):
        raise InputError(f"size: got {size[0]}x{size[1]}, expected multiples of 32")

    def once() -> Iterator[Any]:
        """One image from file to mask; yields after every stage."""
        pixels = read_image(image, channels=metadata.model.in_channels, scale=metadata.input.scale)
        yield pixels
        resized = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        batch = resized.reshape(1, *size, -1)
        yield batch
        logits = runtime(batch)
        yield logits
        mask = upsample_argmax(logits[0], (pixels.shape[0], pixels.shape[1]), threads)
        yield mask
        yield mask_png(mask, metadata.labels)

    rows: list[NDArray[np.float64]] = []
    image_size, end = (0, 0), time.perf_counter() + seconds
    while len(rows) < 10 + WARM_UP or time.perf_counter() < end:
        clock = [time.perf_counter()]
        for result in once():
            clock.append(time.perf_counter())
            if len(clock) == 2:
                image_size = result.shape[:2]
        rows.append(np.diff(clock))
    times = np.array(rows[WARM_UP:])  # (repeats, stages)
    graph = metadata.graphs.get(name)
    files = [bundle.weights] if graph is None else _files(bundle.folder / graph.file)
    package = _PACKAGES[name]
    return Measurement(
        runtime=name,
        version=f"{package} {importlib.metadata.version(package)}",
        threads=threads,
        size=size,
        image_size=(int(image_size[0]), int(image_size[1])),
        repeats=len(times),
        stages={stage: Timing.of(times[:, i]) for i, stage in enumerate(STAGES)},
        total=Timing.of(times.sum(axis=1)),
        model_bytes=sum(file.stat().st_size for file in files),
        memory_bytes=_peak_memory(),
    )


def markdown(found: Sequence[Measurement]) -> str:
    """Give the measurements as a Markdown table: medians in ms, and the spread of the total."""
    head = ["engine", "threads", "network size", *STAGES, "**image to mask**", "p90", "p99"]
    head += ["memory", "model"]
    lines = [f"Machine: {describe_machine()}.", ""]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in found:
        cells = [one.version, str(one.threads), f"{one.size[0]}x{one.size[1]}"]
        cells += [f"{one.stages[stage].median:.1f}" for stage in STAGES]
        cells += [f"**{one.total.median:.1f}**", f"{one.total.p90:.1f}", f"{one.total.p99:.1f}"]
        cells += [f"{one.memory_bytes / 2**20:.0f} MiB", f"{one.model_bytes / 1e6:.1f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
    image = found[0].image_size
    lines += ["", f"Medians in ms; image and mask {image[0]}x{image[1]} (height x width)."]
    return "\n".join(lines) + "\n"


def to_tree(found: Sequence[Measurement]) -> dict[str, Any]:
    """Give the measurements with the machine and its versions, ready for JSON."""
    return {"machine": describe_machine(), "measurements": [asdict(one) for one in found]}


def describe_machine() -> str:
    """Name the processor, its cores and the versions of Python and topseg."""
    names = [
        line.partition(":")[2].strip()
        for line in _lines(Path("/proc/cpuinfo"))
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor() or platform.machine()
    cores = multiprocessing.cpu_count()
    python, own = platform.python_version(), importlib.metadata.version("topseg")
    return f"{processor}, {cores} cores, {platform.system()}, Python {python}, topseg {own}"


def _files(graph: Path) -> list[Path]:
    """A graph's file, and the one with its weights where they are apart (OpenVINO)."""
    return [file for file in (graph, graph.with_suffix(".bin")) if file.is_file()]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _peak_memory() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
