"""The tail beside what others do: logits of 150 classes become a mask, milliseconds.

    python benchmarks/tail.py [--logits FILE.npy ...] [--seconds 2]

Smooth logits stand for a trained network's (few candidates a cell), white noise for the worst
input. Every method takes its turn in every round, and the minimum counts. A file of real logits,
(K, h, w) float32, is made into a mask of eight times its size. Needs torch.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from topseg.evaluation.benchmark import describe_machine
from topseg.inference.upsample import implementations, upsample_argmax, upsample_argmax_probability

Floats = NDArray[np.float32]
Size = tuple[int, int]
RESULTS = Path(__file__).parent / "results" / "tail.md"


@dataclass(frozen=True)
class Case:
    name: str
    logits: Floats
    size: Size


def smooth(height: int, width: int) -> Floats:
    """Noise of an eighth of the size, enlarged, with a little fine noise."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 4, (150, height // 8, width // 8)).astype(np.float32)
    fine = rng.normal(0, 0.1, (150, height, width)).astype(np.float32)
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse]
    return np.stack(planes) + fine


def cases(files: list[Path]) -> list[Case]:
    noise = np.random.default_rng(0).normal(size=(150, 64, 64)).astype(np.float32)
    found = [
        Case("smooth 64x64 -> 512x512", smooth(64, 64), (512, 512)),
        Case("noise 64x64 -> 512x512", noise, (512, 512)),
        Case("smooth 64x64 -> 1280x960", smooth(64, 64), (1280, 960)),
        Case("smooth 136x240 -> 1080x1920", smooth(136, 240), (1080, 1920)),
    ]
    for file in files:
        logits = np.ascontiguousarray(np.load(file), np.float32)
        size = (8 * logits.shape[1], 8 * logits.shape[2])
        shape = f"{logits.shape[1]}x{logits.shape[2]}"
        found.append(Case(f"{file.stem} {shape} -> {size[0]}x{size[1]}", logits, size))
    return found


def by_torch(logits: Floats, size: Size, threads: int) -> Any:
    torch.set_num_threads(threads)
    wide = interpolate(torch.from_numpy(logits)[None], size, mode="bilinear", align_corners=False)
    return wide.argmax(dim=1)[0].numpy()


def by_class(logits: Floats, size: Size, threads: int) -> Any:
    cv2.setNumThreads(threads)
    shape = size[1], size[0]
    mask = np.zeros(size, np.uint8)
    best = cv2.resize(logits[0], shape, interpolation=cv2.INTER_LINEAR)
    for index in range(1, len(logits)):
        value = cv2.resize(logits[index], shape, interpolation=cv2.INTER_LINEAR)
        better = value > best
        mask[better] = index
        np.copyto(best, value, where=better)
    return mask


def ours(name: str, probability: bool = False) -> Callable[[Floats, Size, int], Any]:
    def run(logits: Floats, size: Size, threads: int) -> Any:
        if probability:
            return upsample_argmax_probability(logits, size, threads, implementation=name)[0]
        return upsample_argmax(logits, size, threads, implementation=name)

    return run


def methods() -> dict[str, tuple[Callable[[Floats, Size, int], Any], int]]:
    names = implementations()
    found = {f"torch interpolate + argmax, {n} threads": (by_torch, n) for n in (1, 2)}
    found["one class at a time by cv2.resize, 1 threads"] = (by_class, 1)
    for name in reversed(names):
        found |= {f"topseg, {name}, {n} threads": (ours(name), n) for n in (1, 2)}
    best = names[0]
    found |= {
        f"topseg, {best}, with probability, {n} threads": (ours(best, True), n) for n in (1, 2)
    }
    del found["topseg, numpy, 2 threads"]  # it has one
    return {key.replace("1 threads", "1 thread"): value for key, value in found.items()}


def measure(case: Case, seconds: float) -> tuple[dict[str, float], dict[str, int]]:
    """Return the best time of every method, and the pixels where its mask is not torch's."""
    best: dict[str, float] = {}
    different: dict[str, int] = {}
    spent = dict.fromkeys(methods(), 0.0)
    expected = by_torch(case.logits, case.size, 1)
    while waiting := [name for name in spent if spent[name] < seconds]:
        for name in waiting:
            function, threads = methods()[name]
            function(case.logits, case.size, threads) if name not in best else None
            start = time.perf_counter()
            mask = function(case.logits, case.size, threads)
            taken = time.perf_counter() - start
            spent[name] += max(taken, seconds / 200)
            best[name] = min(taken, best.get(name, taken))
            different[name] = int((mask != expected).sum())
    return best, different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logits", type=Path, nargs="*", default=[], help="(K, h, w) .npy files")
    parser.add_argument("--seconds", type=float, default=2, help="time for a method and a case")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to write")
    arguments = parser.parse_args()
    everything = cases(arguments.logits)
    results = [measure(case, arguments.seconds) for case in everything]
    reference = next(iter(methods()))
    lines = [
        "# Logits to mask",
        "",
        f"Machine: {describe_machine()}, torch {torch.__version__}, OpenCV {cv2.__version__}, "
        f"NumPy {np.__version__}.",
        "Minimum ms (times faster than torch on one thread; pixels where the mask is not torch's).",
        "Command: `python benchmarks/tail.py`; 150 classes, height x width.",
        "",
        f"| method | {' | '.join(case.name for case in everything)} |",
        f"|---|{'---|' * len(everything)}",
    ]
    for name in methods():
        cells = [
            f"{1e3 * best[name]:.2f} ({best[reference] / best[name]:.1f}x; {different[name]})"
            for best, different in results
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
