"""The native engine beside the others on the same network, and each of its stages beside its floor.

    python benchmarks/engine.py [--models topformer_tiny ...] [--sizes 512x512 ...] [--seconds 8]
                                [--graphs FOLDER] [--formats onnx openvino ...] [--write-only]

150 classes, random weights, uint8 images in, float32 logits out. For each network, size and number
of threads all engines run in turn in one process, some images a turn, so that a busy machine slows
all alike; minimum and median in ms. A floor is the larger of two times, both from limits measured
in the same run (peak.cpp): multiply-adds at the rate that registers allow, and bytes at the rate at
which as many are read. The bytes of a stage are its inputs, outputs and weights, each once.

Graphs are written into FOLDER once, in every format that can be written here; --write-only writes
them and stops, for a converter that needs an environment of its own.
"""

import argparse
import concurrent.futures
import multiprocessing
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import charts
from models import RESULTS, untrained, write_result
from topseg import _native
from topseg.bundle.bundle import read_bundle
from topseg.core.errors import InputError
from topseg.core.geometry import Size, parse_size
from topseg.exporting.formats import FORMATS, choose_formats
from topseg.exporting.run import export, proof_images
from topseg.inference.hub import open_model
from topseg.models import find_variant
from topseg.runtimes.base import Runtime
from topseg.runtimes.native import NativeRuntime
from topseg.runtimes.registry import UnavailableError, find_engine, open_runtime

MODELS = ("topformer_tiny", "topformer_small", "topformer_base")
SIZES = ("512x512", "512x1024", "256x256")
FLAGS = {
    "avx512": ("-DWIDTH=64", "-mavx512f"),
    "avx2": ("-DWIDTH=32", "-mavx2", "-mfma"),
    "neon": ("-DWIDTH=16",),
}
"""How the processor's limits are measured for a code path."""
END = "injection and head"
TURN = 3
"""Images a turn: the first finds the caches full of another engine's data."""
READS = tuple(2**power for power in range(14, 27, 2))


@dataclass(frozen=True)
class Limits:
    """What a processor can do with one code path and a number of threads."""

    flops: float
    """Of multiply-adds per second, two for each."""
    bytes: Mapping[int, float]
    """Bytes per second by the number of bytes that are read again and again."""

    def floor(self, flops: float, size: float) -> float:
        """The shortest time in which so many operations on so many bytes can be done, in s."""
        sizes, rates = list(self.bytes), list(self.bytes.values())
        return max(flops / self.flops, size / float(np.interp(size, sizes, rates)))


@dataclass(frozen=True)
class Stage:
    """What a stage of the network has to do for one image."""

    flops: int
    bytes: int


# ---- What the processor can do, and what the network asks for


def measure_limits(path: str, threads: int, folder: Path) -> Limits | None:
    """Measure a code path's limits; None where that needs a compiler that is not here."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if path not in FLAGS or compiler is None:
        return None
    program = folder / f"peak-{path}"
    if not program.exists():
        source = Path(__file__).with_name("peak.cpp")
        words = [compiler, "-std=c++17", "-O3", "-ffp-contract=fast", "-pthread", *FLAGS[path]]
        subprocess.run([*words, str(source), "-o", str(program)], check=True)
    words = [str(program), str(threads), *map(str, READS)]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    reads = (line.split()[1:] for line in lines[1:])
    return Limits(float(lines[0].split()[1]), {int(size): float(rate) for size, rate in reads})


def count_stages(name: str, size: Size) -> dict[str, Stage]:
    """Count operations and bytes of each stage, by the names of ``stage_times``."""
    with torch.device("meta"):  # shapes alone
        model = find_variant(name).build(150, 3, {}).eval()
        image = torch.empty(1, 3, *size)
    backbone = model.backbone
    layers = [part for part, _ in backbone.tpm.named_children() if part.startswith("layer")]
    parts = {f"backbone.tpm.{layer}": layer for layer in ("stem", *layers)}
    parts |= {"backbone.trans": "transformer", "decode_head": END}
    parts |= {f"backbone.SIM.{i}": END for i in range(len(backbone.SIM))}
    edges = {}  # bytes in and out of each part

    def watch(part: str) -> Any:
        return lambda _, given, found: edges.update({part: (_bytes(given), _bytes(found))})

    for part in (*parts, "backbone.tpm"):
        model.get_submodule(part).register_forward_hook(watch(part))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)

    counts = counter.get_flop_counts()
    stages: dict[str, Stage] = {}
    for part, stage in parts.items():
        flops = sum(counts.get(f"{type(model).__name__}.{part}", {}).values())
        weights = 4 * sum(p.numel() for p in model.get_submodule(part).parameters() if p.dim() > 1)
        before = stages.get(stage, Stage(0, 0))
        moved = sum(edges.get(part, (0, 0)))  # the first place for an injection may be empty
        stages[stage] = Stage(before.flops + flops, before.bytes + moved + weights)

    # The stem's map is not kept, and its image is of bytes; the pool reads all that it makes.
    stem, first = stages.pop("stem"), stages.pop(layers[0])
    kept = sum(edges["backbone.tpm.stem"]) + edges[f"backbone.tpm.{layers[0]}"][0]
    picture = 3 * size[0] * size[1]
    begin = Stage(stem.flops + first.flops, stem.bytes + first.bytes - kept + picture)
    pool = Stage(0, edges["backbone.tpm"][1] + edges["backbone.trans"][0])
    return {"stem and layer1": begin, "pool": pool} | stages


def stage_times(laps: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Name the stages, the last two together: maps are injected as the head asks for them."""
    times: dict[str, float] = {}
    for name, seconds in laps:
        name = END if name in ("injection", "head") else name
        times[name] = times.get(name, 0) + seconds
    return times


def _bytes(values: Any) -> int:
    """Bytes of all tensors in nested lists, as float32."""
    if isinstance(values, Tensor):
        return 4 * values.numel()
    return sum(_bytes(value) for value in values) if isinstance(values, list | tuple) else 0


# ---- The engines


def write_graphs(
    name: str, sizes: Sequence[Size], formats: Sequence[str], folder: Path
) -> list[Path]:
    """Write a network's graphs, those of a fixed size once for each; return all of its bundles.

    What is in the folder already stays; a format that cannot be written here is named and left out.
    """
    weights = folder / name
    if not weights.exists():
        untrained(name, folder, ["torch"])
    bundle, possible = open_model(weights), []
    for one in formats:
        try:
            choose_formats([one])
            possible.append(FORMATS[one])
        except InputError as error:
            print(f"left out: {error}")
    # Those of any size together: the network is traced once for all.
    wanted = [([form.name for form in possible if not form.fixed_size], sizes[0], "")]
    wanted += [
        ([form.name], size, f"-{size[0]}x{size[1]}")
        for form in possible
        if form.fixed_size
        for size in sizes
    ]
    for names, size, suffix in wanted:
        out = folder / f"{'-'.join([name, *names])}{suffix}"
        if names and not out.exists():
            export(
                bundle, out, names, images=proof_images(bundle.metadata, None, count=1), size=size
            )
    return [weights, *sorted(folder.glob(f"{name}-*"))]


def open_engines(
    bundles: Sequence[Path], size: Size, threads: int
) -> Iterator[tuple[str, Runtime]]:
    """Open every engine that takes the size: the native one by code path, the others by graph."""
    weights = read_bundle(bundles[0])
    for path in _native.model_paths():
        if path != "portable":
            yield f"native, {path}", NativeRuntime(weights, threads=threads, path=path)
    for bundle in map(read_bundle, bundles[1:]):
        for name, graph in bundle.metadata.graphs.items():
            if graph.fixed_size not in (None, size):
                continue
            try:
                runtime = open_runtime(bundle, name, device="cpu", threads=threads)
            except UnavailableError as error:
                print(f"left out: {error}")
            else:
                yield find_engine(name).label, runtime


def take_turns(
    bundles: Sequence[Path], size: Size, threads: int, seconds: float
) -> dict[str, tuple[list[float], dict[str, float]]]:
    """Time all engines in turn.

    Returns:
        For each engine its times in s, and the shortest of each stage where it tells.
    """
    torch.set_num_threads(threads)
    engines = dict(open_engines(bundles, size, threads))
    images = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    found: dict[str, tuple[list[float], dict[str, float]]] = {n: ([], {}) for n in engines}
    for runtime in engines.values():
        runtime(images)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(found.values()))[0]) < 5:
        for name, runtime in engines.items():
            times, stages = found[name]
            for _ in range(TURN):
                start = time.perf_counter()
                runtime(images)
                times.append(time.perf_counter() - start)
            if isinstance(runtime, NativeRuntime):
                for stage, taken in stage_times(runtime.stages(images)).items():
                    stages[stage] = min(taken, stages.get(stage, taken))
    return found


# ---- The tables


def engine_rows(
    where: str, found: Mapping[str, tuple[list[float], Any]], floors: Mapping[str, float]
) -> Iterator[str]:
    """One line for each engine: its times, and how far from the first's and from the floor."""
    fastest = next(iter(found.values()))[0]
    for name, (times, _) in found.items():
        path = name.partition(", ")[2]
        floor = f"{min(times) / floors[path]:.2f}" if path in floors else ""
        yield (
            f"| {where} | {name} | {1000 * min(times):.1f} / {1000 * np.median(times):.1f} "
            f"| {min(times) / min(fastest):.2f} | {floor} |"
        )


def stage_rows(
    name: str, stages: Mapping[str, Stage], times: Mapping[str, float], limits: Limits
) -> Iterator[str]:
    """One line for each stage: time, operations, bytes, floor and how far from it."""
    for stage, taken in times.items():
        work = stages[stage]
        floor = limits.floor(work.flops, work.bytes)
        kind = "FMA" if floor == work.flops / limits.flops else "bytes"
        yield (
            f"| {name} | {stage} | {1000 * taken:.2f} | {work.flops / 2e6:.1f} "
            f"| {work.bytes / 1e6:.2f} | {1000 * floor:.2f} ({kind}) | {taken / floor:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    formats = ["onnx", "openvino", "litert", "executorch", "mnn", "ncnn"]
    parser.add_argument("--formats", nargs="*", choices=formats, default=formats)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--graphs", type=Path)
    parser.add_argument("--write-only", action="store_true")
    given = parser.parse_args()
    sizes = [parse_size(text) for text in given.sizes]
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.graphs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bundles = {n: write_graphs(n, sizes, given.formats, folder) for n in given.models}
        if given.write_only:
            return
        measure(bundles, sizes, given.threads, given.seconds, Path(temporary))


def measure(
    bundles: Mapping[str, Sequence[Path]],
    sizes: Sequence[Size],
    threads: Sequence[int],
    seconds: float,
    folder: Path,
) -> None:
    """Run everything and write the result and its picture."""
    paths = [path for path in _native.model_paths() if path != "portable"]
    limits = {
        (path, count): found
        for count in threads
        for path in paths
        if (found := measure_limits(path, count, folder))
    }
    context = multiprocessing.get_context("spawn")
    engines, stages, points = [], [], {}
    for name, graphs in bundles.items():
        for size in sizes:
            work = count_stages(name, size)
            total = sum(stage.flops for stage in work.values())
            for count in threads:
                print(f"{name}, {size[0]}x{size[1]}, threads {count}", flush=True)
                with concurrent.futures.ProcessPoolExecutor(1, context) as alone:
                    found = alone.submit(take_turns, graphs, size, count, seconds).result()
                floors = {p: total / limit.flops for (p, n), limit in limits.items() if n == count}
                where = f"{name} | {size[0]}x{size[1]} | {count}"
                engines += engine_rows(where, found, floors)
                fastest = next(iter(found))
                limit = limits.get((fastest.partition(", ")[2], count))
                if limit and size == sizes[0] and count == threads[0]:
                    times = found[fastest][1]
                    stages += stage_rows(name, work, times, limit)
                    points[name] = {
                        stage: (work[stage].flops / work[stage].bytes, work[stage].flops / taken)
                        for stage, taken in times.items()
                        if work[stage].flops
                    }
    if points:
        limit = limits[paths[0], threads[0]]
        near, far = max(limit.bytes.values()), limit.bytes[READS[-1]]
        roofs = {"cache": (limit.flops, near), "memory": (limit.flops, far)}
        charts.roofline(RESULTS / "engine.svg", roofs, points)
    write_result("engine", "The native engine", report(engines, stages, limits, sizes, threads))


def report(
    engines: Sequence[str],
    stages: Sequence[str],
    limits: Mapping[tuple[str, int], Limits],
    sizes: Sequence[Size],
    threads: Sequence[int],
) -> str:
    """The result's text."""
    lines = [
        f"Instruction sets: {', '.join(_native.model_paths())} (code paths of the native engine).",
        "",
        "| code path | threads | GFLOP/s | " + " | ".join(map(_kib, READS)) + " |",
        "|---" * (3 + len(READS)) + "|",
    ]
    for (path, count), limit in limits.items():
        rates = " | ".join(f"{rate / 1e9:.0f}" for rate in limit.bytes.values())
        lines.append(f"| {path} | {count} | {limit.flops / 1e9:.1f} | {rates} |")
    lines += [
        "",
        "Multiply-adds from registers, and GB/s by the number of bytes read again and again."
        + _equals(limits, threads[0]),
        "",
        "| network | size | threads | engine | min / median, ms | to native | to the FMA floor |",
        "|---|---|---|---|---|---|---|",
        *engines,
        "",
        "The ratios are of minima; the floor is 2 x multiply-accumulates over the GFLOP/s above.",
    ]
    if stages:
        height, width = sizes[0]
        lines += [
            "",
            f"Stages at {height}x{width}, threads {threads[0]}, the fastest code path:",
            "",
            "| network | stage | ms | million MACs | MB | floor, ms | to the floor |",
            "|---|---|---|---|---|---|---|",
            *stages,
            "",
            "![Roofline](engine.svg)",
        ]
    return "\n".join(lines)


def _equals(limits: Mapping[tuple[str, int], Limits], threads: int) -> str:
    """What to know of a processor whose wider vectors take as much longer."""
    wide, narrow = (limits.get((path, threads)) for path in ("avx512", "avx2"))
    if wide is None or narrow is None or wide.flops > 1.1 * narrow.flops:
        return ""
    return (
        " AVX-512 multiplies\nno faster than AVX2 here: what is asked of a machine with AVX2 alone "
        "is what can be asked of this one."
    )


def _kib(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


if __name__ == "__main__":
    main()
