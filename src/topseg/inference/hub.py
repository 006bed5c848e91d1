"""Hub: MODEL becomes a bundle, whatever was given: a name, a bundle, a run or a checkpoint.

A checkpoint is a bundle too (its weights are the averaged ones where the run keeps an average), so
everything that takes a model takes all of them.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from topseg.bundle.bundle import Bundle, read_bundle, write_metadata
from topseg.bundle.downloads import Progress, cache_folder, fetch, forget
from topseg.bundle.metadata import METADATA
from topseg.bundle.published import NAMES, PUBLISHED, SHIPPED, Published
from topseg.core.errors import InputError, did_you_mean
from topseg.inference.predictor import Predictor
from topseg.runtimes.registry import open_runtime


def open_model(model: str | Path, *, progress: Progress | None = None) -> Bundle:
    """Return the bundle that MODEL stands for.

    Args:
        model: A name (``topseg models`` lists them; what is not part of the package is downloaded
            once), a bundle, a run folder (its best weights, else its newest checkpoint) or a
            checkpoint.
        progress: Called while a file is downloaded, with (bytes so far, bytes in all).

    Returns:
        The bundle, every file checked.

    Raises:
        InputError: There is no such model, or its files are damaged.
    """
    bundle = _find(model, progress)
    if bundle.metadata.notice is not None:
        # Where nobody has set logging up, this is one line on standard error.
        logging.getLogger("topseg").warning("%s: %s", model, bundle.metadata.notice)
    return bundle


def _find(model: str | Path, progress: Progress | None) -> Bundle:
    if str(model) in SHIPPED:
        return read_bundle(SHIPPED[str(model)])
    if str(model) in PUBLISHED:
        return _published(PUBLISHED[str(model)], progress)
    folder = Path(os.path.expanduser(model))
    if (folder / METADATA).is_file():
        return read_bundle(folder)
    if (folder / "recipe.yaml").is_file():
        return read_bundle(_newest(folder))
    if folder.is_dir():
        raise InputError(
            f"{folder}: not a bundle ({METADATA} is missing) and not a run (recipe.yaml is "
            "missing); give the folder that 'topseg train --out' or 'topseg export --out' wrote"
        )
    if folder.exists():
        raise InputError(
            f"{folder}: got a file, expected a bundle, a run or a checkpoint folder; "
            f"convert a weight file with 'topseg convert weights {folder} BUNDLE'"
        )
    name = did_you_mean(str(model), NAMES)
    raise InputError(
        f"{model}: no such model; give a bundle, a run, a checkpoint folder or a name of "
        f"'topseg models'{name}"
    )


def load(
    model: str | Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Predictor:
    """Open MODEL for prediction: ``topseg.load("run")("photo.jpg").mask``.

    Args:
        model: As for :func:`open_model`.
        runtime: Name of an engine, or "auto"; see
            :func:`topseg.runtimes.registry.open_runtime`.
        device: "auto", "cpu", "cuda".
        threads: CPU threads of the network and the tail; None leaves the runtime's default.
        progress: As for :func:`open_model`.

    Raises:
        InputError: No such model, runtime or device, or damaged files.
    """
    return load_workers(
        model, 1, runtime=runtime, device=device, threads=threads, progress=progress
    )[0]


def load_workers(
    model: str | Path,
    workers: int,
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Predictor]:
    """Open MODEL several times, to predict as many images at once.

    Args:
        model: As for :func:`open_model`.
        workers: How many predictors, each with a runtime of its own.
        runtime: As for :func:`load`.
        device: As for :func:`load`.
        threads: CPU threads of each; None leaves the runtime's default.
        progress: As for :func:`open_model`.

    Returns:
        The predictors.

    Raises:
        InputError: No such model, runtime or device, or damaged files.
    """
    bundle = open_model(model, progress=progress)
    return [
        Predictor(
            open_runtime(bundle, runtime, device=device, threads=threads), threads=threads or 1
        )
        for _ in range(workers)
    ]


def find_weights(weights: str | Path) -> Path:
    """Return a file of weights to train from.

    Args:
        weights: A published name, a weight file, or MODEL.

    Raises:
        InputError: There is no such file or model.
    """
    if str(weights) in PUBLISHED:
        return _download(PUBLISHED[str(weights)], None)
    path = Path(weights)
    return path if path.is_file() else open_model(path).weights


def _published(model: Published, progress: Progress | None) -> Bundle:
    """Return the bundle of a published model, made from its download the first time."""
    if model.classes is None:
        raise InputError(
            f"{model.name}: a backbone without a head cannot predict; train from it with "
            f"'topseg train RECIPE --out RUN model.backbone_weights={model.name}'"
        )
    folder = cache_folder() / "models" / model.name
    if (folder / METADATA).is_file():
        bundle = read_bundle(folder)
        if bundle.metadata.origin == model.url:  # else the first use was stopped before its end
            return bundle
    from topseg.interop import make_bundle  # only here, once for each model

    file = _download(model, progress)
    try:
        bundle = make_bundle(file, folder)
    except InputError as error:
        forget(file)
        raise InputError(f"{model.url}: downloaded weights do not fit ({error})") from None
    metadata = dataclasses.replace(
        bundle.metadata,
        origin=model.url,
        license=model.license,
        metrics={"ade20k val (published)": {"miou": model.miou, "miou_flip": model.miou_flip}},
    )
    return write_metadata(folder, metadata)


def _download(model: Published, progress: Progress | None) -> Path:
    path = cache_folder() / "downloads" / model.name / model.url.rpartition("/")[2]
    offline = bool(os.environ.get("TOPSEG_OFFLINE"))
    return fetch(model.url, path, offline=offline, progress=progress)


def _newest(run: Path) -> Path:
    """Return the best weights of a run, or its newest checkpoint."""
    if (run / "best" / METADATA).is_file():
        return run / "best"
    steps = sorted(p for p in (run / "checkpoints").glob("step_*") if (p / METADATA).is_file())
    if not steps:
        raise InputError(
            f"{run}: no checkpoint yet; the first is written after train.save_every steps"
        )
    return steps[-1]
