"""All three sizes on every engine: the network and the whole way from image to mask.

    python benchmarks/sizes.py [--seconds 3]

Beside them the floor: twice the multiply-accumulates over the best rate of a float32 matrix
product on this machine, in the same run.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from models import untrained, write_result
from topseg.evaluation.benchmark import Timing, bench, draw_photo
from topseg.models import VARIANTS

REFERENCE = """\
For orientation, the reference's own pipeline (PaddleSeg's `deploy/python/infer.py`, Tiny, a 683x512
JPEG, one thread, Paddle Inference 2.6.2, measured elsewhere on a like machine): 966 ms per image
(minimum 806) with oneDNN off, 747 (690) as it comes, where oneDNN mis-fuses the attention and the
masks are wrong (72.6 % of pixels agree). It gives masks at the network's size."""


def peak(threads: int) -> float:
    """Best rate of a float32 matrix product, in operations a second."""
    torch.set_num_threads(threads)
    a, b = torch.rand(1536, 1536), torch.rand(1536, 1536)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 1536**3 / best


def cell(timing: Timing) -> str:
    return f"{timing.median:.1f} ({timing.minimum:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    peaks = dict.fromkeys((1, 2), 0.0)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = draw_photo(folder / "photo.jpg")
        for network in VARIANTS.values():
            # Before each network: on a shared machine one moment may be a bad one.
            peaks = {threads: max(best, peak(threads)) for threads, best in peaks.items()}
            bundle = untrained(network.name, folder)
            measured = bench(bundle, photo, threads=(1, 2), seconds=arguments.seconds)
            found += [(network, one) for one in sorted(measured, key=lambda m: m.threads)]
    rows = [
        "| network | threads | engine | network alone | floor | over floor | tail | "
        "**image to mask** |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for network, one in found:
        floor = 2 * network.macs / peaks[one.threads] * 1000
        alone, tail = one.stages["network"], one.stages["tail"]
        rows.append(
            f"| {network.name} | {one.threads} | {one.version} | {cell(alone)} | {floor:.1f} | "
            f"{alone.minimum / floor:.1f}x | {cell(tail)} | **{cell(one.total)}** |"
        )
    rates = ", ".join(f"{threads}: {rate / 1e9:.0f}" for threads, rate in peaks.items())
    note = (
        "512x512, 150 classes, random weights, batch norms folded; a 1280x960 JPEG in, a palette "
        "PNG of that size out. Medians (minima) in ms; minima over the floor. Matrix product, "
        f"GFLOP/s by threads: {rates}."
    )
    write_result("sizes", "Three sizes, every engine", "\n".join([*rows, "", note, "", REFERENCE]))


if __name__ == "__main__":
    main()
