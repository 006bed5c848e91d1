"""The lean loss beside the plain one: time and memory of the loss and of a whole training step.

    python benchmarks/lean_loss.py [--threads 2] [--rounds 3] [--batch 4] [--size 512]

A step is the network's forward pass in training mode, the loss and the backward pass. Every
measurement has a process of its own, which reports its peak memory; the methods take turns, and the
minimum of all rounds counts. Needs torch.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

import charts
from topseg.evaluation.benchmark import describe_machine
from topseg.losses.lean import implementations, upsampled_cross_entropy
from topseg.models import create_model

RESULTS = Path(__file__).parent / "results" / "lean_loss.md"
CLASSES = (2, 19, 150, 1000)


def loss_of(method: str, logits: Tensor, target: Tensor) -> Tensor:
    if method == "plain":
        large = interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
        return cross_entropy(large, target, ignore_index=255)
    total, count = upsampled_cross_entropy(logits, target, implementation=method)
    return total / count


def measure(method: str, model: str, classes: int, batch: int, size: int) -> dict[str, float]:
    """Return the seconds of a step (the second of two) and the peak memory in MiB.

    Without a model the logits are random and the step is the loss alone.
    """
    torch.manual_seed(0)
    target = torch.randint(0, classes, (batch, size, size))
    logits = torch.randn(batch, classes, size // 8, size // 8).requires_grad_()
    if model:
        network = create_model(model, classes).to(memory_format=torch.channels_last).train()
        images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    for _ in range(2):
        start = time.perf_counter()
        loss = loss_of(method, network(images) if model else logits, target)
        loss.backward()
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "loss": loss.item(),
    }


def in_a_process(threads: int, *arguments: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--threads", str(threads)]
    run = subprocess.run(
        [*command, "--one", json.dumps(arguments)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(run.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    methods = ["plain", *reversed(implementations())]
    cases = [("", classes) for classes in CLASSES]
    cases += [("topformer_tiny", 150), ("topformer_base", 150)]
    lines = [
        "# Loss of a training step",
        "",
        f"Machine: {describe_machine()}, torch {torch.__version__}, {options.threads} threads.",
        f"Batch {options.batch} (loss alone: 1), {options.size}x{options.size}, float32. Minimum "
        f"of {options.rounds} rounds: seconds (share of plain), peak memory of the process in MiB.",
        f"Command: `python benchmarks/lean_loss.py --threads {options.threads} "
        f"--rounds {options.rounds} --batch {options.batch} --size {options.size}`.",
        "",
        f"| what | classes | {' | '.join(methods)} |",
        f"|---|---|{'---|' * len(methods)}",
    ]
    alone: dict[str, list[float]] = {method: [] for method in methods}
    for model, classes in cases:
        batch = options.batch if model else 1  # one image of 1000 classes is 1 GiB, upsampled
        found: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
        for _ in range(options.rounds):
            for method in methods:
                arguments = (method, model, classes, batch, options.size)
                found[method].append(in_a_process(options.threads, *arguments))
        best = {method: min(one["seconds"] for one in found[method]) for method in methods}
        if not model:
            for method in methods:
                alone[method].append(best[method])
        memory = {method: min(one["memory"] for one in found[method]) for method in methods}
        cells = [
            f"{best[method]:.3f} ({best[method] / best['plain']:.2f}x), {memory[method]:.0f} MiB"
            for method in methods
        ]
        what = f"step of {model}" if model else "loss and gradient alone"
        lines.append(f"| {what} | {classes} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    picture = options.out.with_suffix(".svg")
    lines += ["", f"![Seconds of the loss and its gradient over classes]({picture.name})"]
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(text)
    series = {method: (CLASSES, seconds) for method, seconds in alone.items()}
    charts.lines(
        picture, series, "classes", "seconds of the loss and its gradient", logarithmic=True
    )


if __name__ == "__main__":
    main()
