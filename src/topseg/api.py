"""API: the verbs of the command line for Python, with the same words and the same defaults.

topseg.train("finetune", "runs/mine", {"data.root": "photos"})
topseg.evaluate("runs/mine").miou
topseg.load("runs/mine")("photo.jpg").save("mask.png")
topseg.export("runs/mine", "bundle", ["onnx"])
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import Metadata
from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.installing import need
from topseg.core.storage import exists, home, is_dir
from topseg.data.dataset import Dataset, open_dataset
from topseg.inference.hub import load, open_model
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Slide
from topseg.recipe import Recipe, read_data, read_data_recipe, read_recipe

if TYPE_CHECKING:
    from topseg.data.report import Report
    from topseg.evaluation.accumulator import Accumulator
    from topseg.evaluation.protocols import Method
    from topseg.evaluation.run import Samples
    from topseg.evaluation.scores import Scores
    from topseg.exporting.graphs.source import Precision

Place = str | Path
Settings = Mapping[str, Any] | Sequence[str]
"""Changes to what a file says: ``{"train.steps": 500}``, or ``["train.steps=500"]``."""
Progress = Callable[[int, int], None]
"""A function of (done, total)."""


def train(
    recipe: Place | Recipe,
    out: Place,
    settings: Settings = (),
    *,
    device: str = "auto",
    resume: bool = False,
    trackers: Sequence[str] = (),
    on_log: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train a model by a recipe.

    Args:
        recipe: A file, the name of a packaged recipe, or a :class:`topseg.Recipe`.
        out: The run folder to make.
        settings: Changes to the recipe, such as ``{"data.root": "photos"}``.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        resume: Go on with the run in ``out`` from its newest good checkpoint.
        trackers: "tensorboard", "wandb", "mlflow".
        on_log: Called with the step and what is logged there: "train/loss" and others every
            ``train.log_every`` steps, "val/miou" and others with each evaluation.

    Returns:
        The run folder, which stands for the model wherever one is taken.

    Raises:
        InputError: Something in the recipe, the data or the folder cannot be used.
        KeyboardInterrupt: A signal stopped it; the checkpoint is written, ``resume`` goes on.
    """
    need("cv2", "train")
    from topseg.training.trackers import Callback
    from topseg.training.trainer import train as run

    if isinstance(recipe, Recipe):
        if settings:
            raise InputError("settings: only with a file or a name; change the Recipe instead")
    else:
        recipe = read_recipe(Path(recipe), _words(settings))
    told: list[str | Callback] = [*trackers, *([Callback(on_log)] if on_log else [])]
    if run(recipe, Path(out), device=device, resume=resume, trackers=told):
        raise KeyboardInterrupt(f"{out}: stopped by a signal; resume=True goes on")
    return Path(out)


def evaluate(
    model: Place | Predictor,
    data: Place | Samples | None = None,
    settings: Settings = (),
    *,
    split: Literal["val", "train", "test"] = "val",
    flip: bool = False,
    scales: Sequence[float] = (),
    slide: Slide | None = None,
    protocol: Method = "direct",
    accumulators: Sequence[Accumulator] = (),
    progress: Progress | None = None,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Scores:
    """Measure a model on a labelled data set, at each image's own resolution.

    Args:
        model: MODEL, or one that is open.
        data: A folder, a ``dataset.yaml``, a recipe, or a :func:`topseg.open_dataset`; None: MODEL
            is a run, and its recipe says which.
        settings: Changes to the data section, such as ``{"layout": "camvid"}``.
        split: Which split.
        flip: Average with the mirror image.
        scales: Average over these scales.
        slide: Windows to run instead of the whole image.
        protocol: "direct", "reference" or "network", as for
            :func:`topseg.evaluation.run.evaluate`.
        accumulators: What else to count.
        progress: Called after each image.
        runtime: The engine; for a MODEL that is not open.
        device: Where to run; for a MODEL that is not open.
        threads: CPU threads; for a MODEL that is not open.

    Raises:
        InputError: No such model or data, or they do not fit each other.
    """
    need("cv2", "data")
    from topseg.evaluation.run import evaluate as run

    predictor = model
    if not isinstance(predictor, Predictor):
        predictor = load(predictor, runtime=runtime, device=device, threads=threads)
    if data is None or isinstance(data, str | Path):
        where, words = data_of(model, data, _words(settings))
        data = open_data(predictor.runtime.metadata, where, words, split)
    return run(
        predictor,
        data,
        flip=flip,
        scales=scales,
        slide=slide,
        protocol=protocol,
        accumulators=accumulators,
        progress=progress,
    )


def export(
    model: Place | Bundle,
    out: Place,
    formats: Sequence[str] = ("onnx",),
    *,
    precision: Precision = "fp32",
    size: tuple[int, int] | None = None,
    data: Place | None = None,
    calibration: Place | None = None,
    max_drop: float = 1.0,
    report: Callable[[str], None] = print,
) -> Bundle:
    """Write a bundle with graphs for other engines, each compared with torch on its own engine.

    Args:
        model: MODEL, or a bundle that is open.
        out: The bundle to make.
        formats: Names of formats.
        precision: Type the weights are stored in; int8 is calibrated.
        size: (height, width) of the graphs that take one size only.
        data: A data set to compare the mIoU on as well.
        calibration: A folder of images to find int8's ranges on; None: the training split of
            ``data``.
        max_drop: Most points of mIoU that int8 may lose.
        report: Takes one line about each graph.

    Returns:
        The new bundle.

    Raises:
        InputError: ``out`` exists, an unknown format or size, a missing package, a graph that does
            not agree with torch, or int8 without images or with too great a loss.
    """
    from topseg.exporting.formats import choose_formats

    choose_formats(formats, int8=precision == "int8")  # before anything is fetched or read
    need("cv2", "train")
    from topseg.exporting.quantization import calibration_images
    from topseg.exporting.run import export as run
    from topseg.exporting.run import proof_images

    bundle = model if isinstance(model, Bundle) else open_model(model)
    metadata, out = bundle.metadata, Path(out)
    dataset = open_data(metadata, data) if data is not None else None
    images: Path | Dataset | None = Path(calibration) if calibration is not None else None
    if images is None and data is not None and precision == "int8":
        images = open_data(metadata, data, split="train")
    channels, scale = metadata.architecture.in_channels, metadata.input.scale
    return run(
        bundle,
        out,
        formats,
        images=proof_images(metadata, dataset),
        precision=precision,
        size=size,
        dataset=dataset,
        calibration=calibration_images(images, channels, scale)
        if images is not None and precision == "int8"
        else (),
        max_drop=max_drop,
        report=report,
    )


def check(data: Place, settings: Settings = ()) -> Report:
    """Read every pair of a data set and list everything that is wrong, file by file.

    Args:
        data: A folder, a ``dataset.yaml`` or a recipe.
        settings: Changes to the data section.

    Returns:
        The report; ``print(report)`` is for people.

    Raises:
        InputError: There is no such data set, or what its masks mean is not known.
    """
    need("cv2", "data")
    from topseg.data.checking import check as run

    source = read_data_recipe(Path(data), _words(settings))
    return run(source.data, channels=source.model.in_channels, scale=source.input.scale)


def open_data(
    metadata: Metadata, data: Place, words: Sequence[str] = (), split: str = "val"
) -> Dataset:
    """Open a split of DATA as a model reads images.

    Args:
        metadata: Of the model.
        data: A folder, a ``dataset.yaml`` or a recipe.
        words: Changes to the data section.
        split: "train", "val", or "test", the layout's split of that name.

    Raises:
        InputError: There is no such data set or split.
    """
    if split == "test":
        words, split = (*words, "val=test"), "val"
    return open_dataset(
        read_data(Path(data), words),
        "train" if split == "train" else "val",
        channels=metadata.architecture.in_channels,
        scale=metadata.input.scale,
    )


def data_of(
    model: Place | Predictor, data: Place | None, words: Sequence[str]
) -> tuple[Path, Sequence[str]]:
    """Return the data to evaluate on, by the recipe of the run where nothing else says it.

    Args:
        model: MODEL.
        data: DATA, a folder without a description, or None.
        words: Changes to the data section.

    Raises:
        InputError: No data is given, and MODEL is no run.
    """
    recipe = Path(model) / "recipe.yaml" if isinstance(model, str | Path) else None
    run = recipe if recipe is not None and recipe.is_file() else None
    if data is None:
        if run is None:
            raise InputError(f"{model}: no run, whose data is known; give DATA as well")
        return run, words
    data = Path(data)
    described = any(exists(home(data) / name) for name in ("dataset.yaml", "classes.txt"))
    if run is not None and is_dir(data) and not described:
        if read_data(run).classes is None:  # a file in the root of the run's own data names them
            labels = open_model(run.parent).metadata.labels
            words = (f"classes={json.dumps(labels.names)}", *words)
        return run, (f"root={data}", *words)
    return data, words


def _words(settings: Settings) -> Sequence[str]:
    """Return changes as the command line has them."""
    if isinstance(settings, str):  # one change alone
        return [settings]
    if not isinstance(settings, Mapping):
        return settings
    return [
        f"{key}={json.dumps(to_tree(value), ensure_ascii=False)}" for key, value in settings.items()
    ]
