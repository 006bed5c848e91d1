"""The steps of `gpu.py`: each measures one thing and returns its part of the report.

On a CPU in small form they do the same work at sizes that say nothing about speed.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lean_loss import loss_of
from topseg.core.files import write_text
from topseg.inference.hub import load
from topseg.losses.lean import implementations
from topseg.models import create_model
from topseg.recipe import read_recipe
from topseg.synthetic.scenes import LABELS, draw_scene, write_scenes
from topseg.training.trial import bench_data

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "gpu"
RECIPE = ROOT / "recipes" / "topformer_tiny_camvid.yaml"


@dataclass(frozen=True)
class Place:
    """Where a step runs, and how much of it."""

    device: str
    small: bool
    seconds: float
    camvid: Path

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def keep(self, step: str, text: str) -> None:
        """Write a step's part of the report, as far as it is."""
        write_text(WORK / "parts" / f"{step}.md", text)

    def milliseconds(self, work: Callable[[], object], rounds: int) -> float:
        """Return the median time of a piece of work, after two rounds that do not count."""
        times = []
        for turn in range(rounds + 2):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            if turn > 1:
                times.append(1000 * (time.perf_counter() - start))
        return float(np.median(times))

    @contextmanager
    def peak(self, found: dict[str, str]) -> Iterator[None]:
        """Note the most memory that the block held on the GPU."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        yield
        cuda = self.device == "cuda"
        found["MiB"] = f"{torch.cuda.max_memory_allocated() / 2**20:.0f}" if cuda else "-"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def topseg(*words: str, folder: Path = WORK) -> str:
    """Run a command of topseg; return what it printed.

    Raises:
        RuntimeError: It failed; the text has the end of what it printed.
    """
    command = [sys.executable, "-m", "topseg", *words]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ)
    if run.returncode:
        raise RuntimeError(f"topseg {' '.join(words)}: {run.returncode}\n{run.stderr[-2000:]}")
    return run.stdout


def lean(place: Place) -> str:
    """The lean loss against torch's own in float64 (values) and float32 (speed, memory)."""
    head = ["classes", "method", "loss, relative to float64", "gradient", "ms", "MiB"]
    size, rows = (64 if place.small else 512), []
    for classes in (2, 19) if place.small else (2, 19, 150, 1000):
        batch = 2 if place.small or classes == 1000 else 8
        generator = torch.Generator().manual_seed(classes)
        shape = (batch, classes, size // 8, size // 8)
        logits = torch.randn(shape, generator=generator).mul(3).to(place.device).requires_grad_()
        target = torch.randint(0, classes, (batch, size, size), generator=generator)
        target[:, :5] = 255
        target = target.to(place.device)

        def step(
            method: str, logits: Tensor = logits, target: Tensor = target
        ) -> tuple[Tensor, Tensor]:
            loss = loss_of(method, logits, target)
            return loss, torch.autograd.grad(loss, logits)[0]

        few = (logits[:2].detach().double().requires_grad_(), target[:2])
        truth, slope = step("plain", *few)
        for method in ("plain", *implementations(place.device)):
            found, pair = dict[str, str](), (logits[:2].detach().requires_grad_(), target[:2])
            loss, gradient = step(method, *pair)
            with place.peak(found):
                ms = place.milliseconds(lambda method=method, step=step: step(method), 5)
            off = abs(loss.item() - truth.item()) / truth.item()
            apart = ((gradient.double() - slope).norm() / slope.norm()).item()
            cells = [str(classes), method, f"{off:.1e}", f"{apart:.1e}", f"{ms:.2f}"]
            rows.append([*cells, found["MiB"]])
    return table(head, rows)


def steps(place: Place) -> str:
    """A training step: forward, loss, backward, AdamW."""
    sizes = ["tiny"] if place.small else ["tiny", "base"]
    batch, size, classes = (2, 64, 19) if place.small else (32, 512, 150)
    cases = [
        (name, precision, method, compiled)
        for compiled in (False, True)  # those that take a minute to compile come last
        for name in sizes
        for precision in ("fp32", "bf16")
        for method in ("lean", "plain")
        if not compiled or (method == "lean" and not (place.small and precision == "bf16"))
    ]
    head = ["network", "precision", "loss", "compiled", "images/s", "MiB"]
    note = f"Batch {batch}, {size}x{size}, {classes} classes."
    rows, text, start = [], "", time.monotonic()
    for name, precision, method, compiled in cases:
        if time.monotonic() - start > place.seconds - (60 if compiled else 10):
            break
        found = dict[str, str]()
        try:
            with place.peak(found):
                loop = _loop(place, name, precision, method, compiled, batch, size, classes)
                ms = place.milliseconds(loop, 3 if place.small else 10)
            figures = [f"{1000 * batch / ms:.0f}", found["MiB"]]
        except (RuntimeError, AssertionError) as error:  # no memory, or a fault of the compiler
            figures = [f"{type(error).__name__}", "-"]
        rows.append([name, precision, method, "yes" if compiled else "no", *figures])
        text = f"{note}\n\n{table(head, rows)}"
        place.keep("steps", text)  # compiling may outlast the time of this step
    return text


def _loop(
    place: Place,
    name: str,
    precision: str,
    method: str,
    compiled: bool,
    batch: int,
    size: int,
    classes: int,
) -> Callable[[], None]:
    """Return one training step as a function."""
    torch.manual_seed(0)
    network: nn.Module = create_model(f"topformer_{name}", classes).to(place.device).train()
    network = network.to(memory_format=torch.channels_last)
    forward: Any = torch.compile(network) if compiled else network
    images = torch.randn(batch, 3, size, size, device=place.device)
    images = images.to(memory_format=torch.channels_last)
    target = torch.randint(0, classes, (batch, size, size), device=place.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    loss_name = implementations(place.device)[0] if method == "lean" else "plain"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(place.device, torch.bfloat16, enabled=precision == "bf16"):
            logits = forward(images)
        loss_of(loss_name, logits, target).backward()
        optimizer.step()

    return step


def resume(place: Place) -> str:
    """A run that was stopped and resumed is the run that nothing stopped, bit by bit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _scenes(folder, steps=6)
        run = ["train", "recipe.yaml", "--device", place.device, "train.deterministic=true"]
        topseg(*run, "--out", "whole", folder=folder)
        topseg(*run, "--out", "again", folder=folder)
        topseg(*run, "--out", "parts", folder=folder)
        _cut(folder / "parts")
        topseg(*run, "--out", "parts", "--resume", folder=folder)
        results = []
        for other in ("again", "parts"):
            try:
                topseg("compare-runs", "whole", other, folder=folder)
                results.append("equal bit by bit")
            except RuntimeError as error:
                results.append(f"**differ**: {str(error)[-300:]}")
    what = ["trained twice", "checkpoint of step 3, resumed to step 6"]
    return table(["deterministic mode", "result"], [list(row) for row in zip(what, results)])  # noqa: B905


def _scenes(folder: Path, **train: object) -> None:
    """Write drawn scenes and a recipe that trains on them in steps of a moment."""
    write_scenes(folder / "data", train=24, val=4)
    (folder / "data/classes.txt").write_text("\n".join(LABELS.names))
    settings = {"batch_size": 4, "crop": [128, 128], "workers": 1, "ema": 0.9, "log_every": 1}
    settings |= {"eval_every": 3, "save_every": 3, "keep": 9, **train}
    settings["augment"] = [{"name": "pad_crop"}, {"name": "flip"}]
    tree = {"data": {"root": "data"}, "model": {"name": "topformer_tiny"}, "train": settings}
    (folder / "recipe.yaml").write_text(json.dumps(tree))  # JSON is YAML


def _cut(run: Path) -> None:
    """Leave of a run what it had after its first checkpoint."""
    _, *later = sorted((run / "checkpoints").iterdir())
    for checkpoint in later:
        checkpoint.rename(run.parent / f"cut-{checkpoint.name}")


def evaluation(place: Place) -> str:
    """Scores and masks of the packaged model, on this device and on the CPU."""
    images = [draw_scene(0, index).image for index in range(4 if place.small else 40)]
    ours, cpu = (
        load("topformer-tiny-camvid", runtime="torch", device=device)
        for device in (place.device, "cpu")
    )
    logits = [
        (one.logits(image), other.logits(image)) for image in images for one, other in [(ours, cpu)]
    ]
    spread = float(np.std([theirs for _, theirs in logits]))
    far = max(float(np.abs(a - b).max()) for a, b in logits) / spread
    same = np.mean([(ours(image).mask == cpu(image).mask).mean() for image in images])
    rows = [
        ["largest difference of logits, share of their spread", f"{far:.1e}"],
        ["pixels with the same class", f"{100 * same:.3f} %"],
    ]
    if place.camvid.is_dir():
        words = ["topformer-tiny-camvid", str(place.camvid), "layout=camvid", "--runtime", "torch"]
        for device in (place.device, "cpu"):
            out = WORK / f"scores-{device}.json"
            topseg("evaluate", *words, "--device", device, "--json", str(out))
            miou = json.loads(out.read_text())["miou"]
            rows.append([f"CamVid val on {device}, mIoU", f"{100 * miou:.3f} %"])
    return table(["what", "figure"], rows)


def loader(place: Place) -> str:
    """From files to a step: which of the two waits for the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _scenes(folder, crop=[64, 64] if place.small else [192, 256])
        workers = min(8, os.cpu_count() or 1)
        changes = [f"train.workers={workers}", f"train.batch_size={4 if place.small else 16}"]
        drawn = bench_data(read_recipe(folder / "recipe.yaml", changes), place.device)
    text = f"Drawn scenes of 192x256, {workers} workers:\n\n```\n{drawn}\n```"
    if place.camvid.is_dir():
        changes = [f"data.root={place.camvid}", f"train.workers={workers}"]
        changes += ["train.batch_size=2"] if place.small else ["train.batch_size=16"]
        found = bench_data(read_recipe(RECIPE, changes), place.device)
        text += f"\n\nCamVid by its recipe:\n\n```\n{found}\n```"
    return text


def onnxruntime(place: Place) -> str:
    """ONNX Runtime on the GPU, where its build has the provider."""
    available = importlib.import_module("onnxruntime").get_available_providers()
    if place.device == "cuda" and "CUDAExecutionProvider" not in available:
        return f"This build of ONNX Runtime has no CUDA provider: {', '.join(available)}."
    image = draw_scene(0, 0).image
    cpu = load("topformer-tiny-camvid", runtime="torch", device="cpu")
    ours = load("topformer-tiny-camvid", runtime="onnx", device=place.device)
    same = (ours(image).mask == cpu(image).mask).mean()
    ms = place.milliseconds(lambda: ours(image), 10)
    cells = [place.device, f"{100 * same:.3f} %", f"{ms:.2f}"]
    return table(["device", "pixels as torch on the CPU", "ms from image to mask"], [cells])


def train(place: Place) -> str:
    """Train on CamVid by the recipe for the seconds that are left, and make a bundle."""
    start = time.monotonic()
    if not place.camvid.is_dir():
        return f"{place.camvid} is not there: `python benchmarks/gpu.py pack CAMVID` makes it."
    crop = "train.crop=[64, 64]" if place.small else "train.crop=[352, 480]"
    common = [f"data.root={place.camvid}", crop, "train.workers=8", "train.precision=bf16"]
    common += ["train.batch_size=2" if place.small else "train.batch_size=32", "train.log_every=5"]
    runs = WORK / "runs"
    number = 1 + len(list(runs.glob("*")))
    trial, run = runs / f"{number:02d}-trial", runs / f"{number:02d}"
    words = ["train", str(RECIPE), "--device", place.device]
    count = 2 if place.small else 120
    common += [f"schedule.warmup_steps={1 if place.small else 100}"]
    every = [f"train.steps={count}", f"train.eval_every={count}", f"train.save_every={count}"]
    topseg(*words, *common, *every, "--out", str(trial))
    log = [json.loads(line) for line in (trial / "log.jsonl").read_text().splitlines()]
    rate = [line["images_per_s"] for line in log if "images_per_s" in line][-1]

    # A tenth of the time is for evaluations, the export and what was not foreseen.
    left = 0.9 * (place.seconds - (time.monotonic() - start)) - 20
    batch = 2 if place.small else 32
    count = 4 if place.small else max(100, int(left * rate / batch))
    every = [f"train.steps={count}", f"train.eval_every={max(1, count // 5)}"]
    every += [f"train.save_every={max(1, count // 5)}"]
    began = time.monotonic()
    topseg(*words, *common, *every, "--out", str(run))
    spent = time.monotonic() - began
    topseg("export", str(run), "--out", str(WORK / "bundle"), "--formats", "onnx")
    scores = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rows = [
        [str(line["step"]), f"{100 * line['miou']:.2f} %", f"{line['val_loss']:.4f}"]
        for line in scores
        if "miou" in line
    ]
    command = f"topseg {' '.join([*words, *common, *every])}".replace(str(ROOT) + "/", "")
    text = f"{count} steps in {spent:.0f} s, {rate:.0f} images/s. The bundle: build/gpu/bundle."
    return f"`{command}`\n\n{text}\n\n{table(['step', 'val mIoU', 'val loss'], rows)}"


STEPS: dict[str, tuple[str, Callable[[Place], str]]] = {
    "lean": ("The lean loss", lean),
    "steps": ("A training step", steps),
    "resume": ("Exact resume", resume),
    "evaluation": ("Evaluation, GPU and CPU", evaluation),
    "loader": ("The loader against the step", loader),
    "onnxruntime": ("ONNX Runtime", onnxruntime),
    "train": ("CamVid by the recipe", train),
}
