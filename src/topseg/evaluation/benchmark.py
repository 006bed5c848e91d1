"""Benchmark: how long an image takes from file to mask, stage by stage, on each engine.

"Network" alone and "image to mask" are separate columns and never mixed. Every configuration runs
in a process of its own, so that memory and thread settings of one do not touch the next.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import itertools
import multiprocessing
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from pydantic.dataclasses import dataclass

from topseg.bundle.bundle import Bundle, graph_bytes
from topseg.core.config import STRICT, build
from topseg.core.errors import InputError
from topseg.core.files import read_json, write_bytes, write_json, write_text
from topseg.core.geometry import Size
from topseg.inference.predictor import Predictor
from topseg.media.drawing import mask_png, picture_jpeg
from topseg.runtimes.registry import engines_for, find_engine, open_runtime
from topseg.synthetic.samples import SAMPLES

STAGES = ("decode", "resize", "network", "tail", "encode")
WARM_UP = 3
_COLORS = ("#9aa5b1", "#c9b458", "#3d6fb6", "#d1495b", "#6a994e")


@dataclass(frozen=True, config=STRICT)
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


@dataclass(frozen=True, config=STRICT)
class Measurement:
    """One engine with one number of threads at one network size, on one machine."""

    machine: str
    """Processor, cores and versions; see :func:`describe_machine`."""
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

    def __post_init__(self) -> None:
        """Check that every stage is there."""
        if set(self.stages) != set(STAGES):
            raise ValueError(f"expected the stages {', '.join(STAGES)}")


@dataclass(frozen=True, config=STRICT)
class Measurements:
    """What ``bench.json`` holds."""

    measurements: tuple[Measurement, ...]


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
        runtimes: Names of engines; empty: all that can run the bundle here.
        sizes: (height, width) of the network's input, multiples of 32; a graph that takes one size
            only is measured at that.
        threads: CPU threads of network and tail.
        seconds: How long each is repeated (at least ten times).
        progress: Takes the name of what is measured next.

    Returns:
        What was measured; ``progress`` is told of engines that could not be.

    Raises:
        InputError: Nothing could be measured: no graph, an engine that is not installed, a size
            that does not fit, or an image that cannot be read.
    """
    names = runtimes or [engine.name for engine in engines_for(bundle)]
    found, problem = list[Measurement](), None
    context = multiprocessing.get_context("spawn")
    for name in names:
        graph = bundle.metadata.graphs.get(name)
        own_sizes = [graph.fixed_size] if graph and graph.fixed_size else sizes
        try:
            for size, count in itertools.product(own_sizes, threads):
                progress(f"{name}, {size[0]}x{size[1]}, threads {count}")
                with concurrent.futures.ProcessPoolExecutor(1, context) as alone:
                    job = alone.submit(measure, bundle, image, name, size, count, seconds)
                    found.append(job.result())
        except (InputError, concurrent.futures.BrokenExecutor) as error:
            if not isinstance(error, InputError):
                error = InputError(
                    f"runtime {name}: its process ended, by a fault of the engine or for want of "
                    "memory; take another runtime"
                )
            problem = problem or error
            progress(f"{name}: not measured: {error}")
    if problem is not None and not found:
        raise problem
    return found


def measure(
    bundle: Bundle, image: Path, name: str, size: Size, threads: int, seconds: float
) -> Measurement:
    """Measure one combination in this process; see :func:`bench`."""
    metadata = bundle.metadata
    runtime = open_runtime(bundle, name, device="cpu", threads=threads)
    predictor = Predictor(runtime, threads=threads)

    def once() -> Iterator[Any]:
        """One image from file to mask; yields after every stage."""
        pixels = predictor.read(image)
        yield pixels
        inputs = predictor.prepare(pixels, size)
        yield inputs
        logits = predictor.run(inputs)
        yield logits
        mask = predictor.finish(logits, inputs.size).mask
        yield mask
        yield mask_png(mask, metadata.labels)

    # As often as the time allows, and at least ten times after the warm-up.
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
    return Measurement(
        machine=describe_machine(),
        runtime=name,
        version=find_engine(name).version,
        threads=threads,
        size=size,
        image_size=(int(image_size[0]), int(image_size[1])),
        repeats=len(times),
        stages={stage: Timing.of(times[:, i]) for i, stage in enumerate(STAGES)},
        total=Timing.of(times.sum(axis=1)),
        model_bytes=graph_bytes(bundle.weights if graph is None else bundle.folder / graph.file),
        memory_bytes=_peak_memory(),
    )


def markdown(found: Sequence[Measurement]) -> str:
    """Return the measurements as a Markdown table: medians in ms, and the spread of the total."""
    machines = list(dict.fromkeys(one.machine for one in found))
    head = ["engine", "threads", "network size", *STAGES, "**image to mask**", "p90", "p99"]
    head += ["memory", "model"]
    if len(machines) == 1:
        lines = [f"Machine: {machines[0]}.", ""]
    else:
        head.insert(0, "machine")
        lines = [*(f"{i}. {machine}" for i, machine in enumerate(machines, 1)), ""]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in found:
        cells = [str(1 + machines.index(one.machine))] if len(machines) > 1 else []
        cells += [one.version, str(one.threads), f"{one.size[0]}x{one.size[1]}"]
        cells += [f"{one.stages[stage].median:.1f}" for stage in STAGES]
        cells += [f"**{one.total.median:.1f}**", f"{one.total.p90:.1f}", f"{one.total.p99:.1f}"]
        cells += [f"{one.memory_bytes / 2**20:.0f} MiB", f"{one.model_bytes / 1e6:.1f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
    images = dict.fromkeys(f"{one.image_size[0]}x{one.image_size[1]}" for one in found)
    lines += ["", f"Medians in ms; image and mask {', '.join(images)} (height x width)."]
    return "\n".join(lines) + "\n"


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """Read a ``bench.json``, or what ``topseg-cli bench --json-file`` wrote on another machine.

    Raises:
        InputError: There is no such file, or something in it is wrong or missing.
    """
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: got a {type(tree).__name__}, expected a mapping")
    return build(Measurements, tree, str(path)).measurements


def save(found: Sequence[Measurement], folder: Path) -> None:
    """Write ``bench.json``, ``bench.md`` and ``bench.svg`` into a folder."""
    write_json(folder / "bench.json", asdict(Measurements(tuple(found))))
    write_text(folder / "bench.md", markdown(found))
    write_text(folder / "bench.svg", chart(found))


def chart(found: Sequence[Measurement]) -> str:
    """Draw the medians of the stages as stacked bars, one per configuration, as SVG."""
    left, width, line = 210, 560, 26
    longest = max(sum(t.median for t in one.stages.values()) for one in found) or 1.0
    height = line * (len(found) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, stage in enumerate(STAGES):
        place = left + i * 110
        parts.append(f'<rect x="{place}" y="8" width="12" height="12" fill="{_COLORS[i]}"/>')
        parts.append(f'<text x="{place + 17}" y="19">{stage}</text>')
    for row, one in enumerate(found):
        y, x = line * (row + 1) + 8, float(left)
        name = f"{escape(one.runtime)}, {one.size[0]}x{one.size[1]}, threads {one.threads}"
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{name}</text>')
        for color, stage in zip(_COLORS, STAGES, strict=True):
            length = one.stages[stage].median / longest * width
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="18" fill="{color}"/>'
            )
            x += length
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 14}">{one.total.median:.1f} ms</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_photo(path: Path) -> Path:
    """Write a drawn scene of 960 x 1280 pixels (height x width) as JPEG, and return its path."""
    with Image.open(SAMPLES[0]) as sample:
        scene = np.asarray(sample.resize((1280, 960), Resampling.BICUBIC))
    grain = np.random.default_rng(0).normal(0, 4, scene.shape)  # a drawing compresses too well
    photo = np.clip(scene + grain, 0, 255).astype(np.uint8)
    write_bytes(path, picture_jpeg(photo))
    return path


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


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _peak_memory() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
