"""A run's report: evaluated anew on the held-out images, its log and its pictures."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.core.files import read_json
from topseg.core.terminal import duration
from topseg.data.dataset import open_dataset
from topseg.evaluation.run import evaluate
from topseg.evaluation.scores import Scores
from topseg.inference.hub import open_model
from topseg.inference.predictor import Predictor
from topseg.recipe import Recipe, read_recipe
from topseg.report.page import RunReport, write_report
from topseg.report.pictures import choose_examples
from topseg.runtimes.registry import open_runtime

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_PACKAGES = ("topseg", "torch", "onnxruntime", "numpy", "opencv-python-headless")


def report_run(
    run: Path,
    out: Path,
    *,
    title: str | None = None,
    commands: Sequence[str] | None = None,
    pictures: int = 8,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Evaluate a run on its held-out images and write its report.

    Args:
        run: A run folder.
        out: The HTML file to write.
        title: The headline; None names the network and the data.
        commands: What the reader may type next; None: what to do with this model.
        pictures: Examples to show.
        device: Where to run.
        progress: Called after each image with (done, total).

    Returns:
        The scores.

    Raises:
        InputError: It is no run, or its data cannot be read.
    """
    bundle, recipe = open_model(run), read_recipe(run / "recipe.yaml")
    metadata = bundle.metadata
    dataset = open_dataset(
        recipe.data, "val", channels=metadata.architecture.in_channels, scale=metadata.input.scale
    )
    predictor = Predictor(open_runtime(bundle, device=device))
    start = time.perf_counter()
    scores = evaluate(predictor, dataset, progress=progress)
    speed = len(dataset) / (time.perf_counter() - start)
    log = read_log(run)
    report = RunReport(
        title=title or f"{metadata.architecture.name} on {Path(recipe.data.root).name}",
        summary=_summary(bundle, recipe, scores),
        figures=_figures(bundle, recipe, log, scores, speed),
        labels=dataset.labels,
        scores=scores,
        examples=choose_examples(predictor, dataset, pictures),
        log=log,
        recipe=(run / "recipe.yaml").read_text(encoding="utf-8"),
        facts=_facts(run, bundle),
        commands=_commands(run) if commands is None else commands,
    )
    write_report(out, report)
    return scores


def read_log(run: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log, without one that was cut off when the run was killed.

    Raises:
        InputError: There is none, or a line is not JSON.
    """
    path = run / "log.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a log ({error})") from None


def training_seconds(log: Sequence[Mapping[str, Any]], batch_size: int) -> float:
    """Return how long the steps took, evaluations and checkpoints left out."""
    seconds, before = 0.0, 0
    for line in log:
        if rate := line.get("images_per_s"):
            seconds += (line["step"] - before) * batch_size / rate
            before = line["step"]
    return seconds


def count_parameters(weights: Path) -> int:
    """Count the trainable numbers in a weight file."""
    with safe_open(weights, "np") as file:
        names = [name for name in file.keys() if not name.endswith(_STATISTICS)]  # noqa: SIM118
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def _summary(bundle: Bundle, recipe: Recipe, scores: Scores) -> str:
    model = bundle.metadata.architecture
    crop = "x".join(map(str, recipe.train.crop))
    return (
        f"{model.name} for {model.num_classes} classes, {recipe.train.steps} steps of "
        f"{recipe.train.batch_size} crops of {crop} pixels, measured on {scores.images} images "
        "that it was not trained on."
    )


def _figures(
    bundle: Bundle,
    recipe: Recipe,
    log: Sequence[Mapping[str, Any]],
    scores: Scores,
    speed: float,
) -> dict[str, str]:
    seconds = training_seconds(log, recipe.train.batch_size)
    figures = {
        "mIoU": f"{scores.miou:.1%}",
        "pixel accuracy": f"{scores.accuracy:.1%}",
        "parameters": f"{count_parameters(bundle.weights) / 1e6:.2f} M",
        "evaluation": f"{speed:.0f} images/s",
    }
    if seconds:
        images = recipe.train.batch_size * max(line["step"] for line in log)
        figures |= {
            "training": duration(seconds),
            "training speed": f"{images / seconds:.0f} images/s",
        }
    return figures


def _facts(run: Path, bundle: Bundle) -> dict[str, str]:
    size = f"{bundle.weights.stat().st_size / 1e6:.1f} MB"
    facts = {"run": str(run), "weights": f"{bundle.weights} ({size})"}
    states = sorted((run / "checkpoints").glob("step_*/state.json"))
    if states:
        environment = read_json(states[-1]).get("environment", {})
        facts["trained with"] = ", ".join(f"{k} {v}" for k, v in environment.items())
    facts["reported with"] = ", ".join(_versions())
    facts["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return facts


def _versions() -> list[str]:
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _commands(run: Path) -> list[str]:
    model, recipe = shlex.quote(str(run)), shlex.quote(str(run / "recipe.yaml"))
    commands = {
        f"topseg evaluate {model} {recipe}": "the scores above",
        f"topseg predict {model} photo.jpg --out masks": "a mask of any image, at its own size",
        f"topseg export {model} --out bundle --formats onnx": "for other engines",
    }
    width = max(map(len, commands))
    return [f"{command:{width}}  # {meaning}" for command, meaning in commands.items()]
