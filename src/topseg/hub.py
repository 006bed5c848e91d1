"""Hub: MODEL becomes a bundle, whatever was given: a bundle, a run, a checkpoint or a name.

A checkpoint is a bundle too (its weights are the averaged ones where the run keeps an average), so
everything that takes a model takes all of them.
"""

from __future__ import annotations

from pathlib import Path

from topseg.bundle import METADATA, Bundle, read_bundle
from topseg.errors import InputError
from topseg.predict import Predictor
from topseg.runtimes import open_runtime


def open_model(model: str | Path) -> Bundle:
    """Find MODEL.

    Args:
        model: A bundle, a run folder (its best weights, else its newest checkpoint) or a
            checkpoint.

    Returns:
        The bundle, every file checked.

    Raises:
        InputError: There is no such model, or its files are damaged.
    """
    folder = Path(model)
    if (folder / METADATA).is_file():
        return read_bundle(folder)
    if (folder / "recipe.yaml").is_file():
        return read_bundle(_newest(folder))
    if folder.is_dir():
        raise InputError(
            f"{folder}: neither a bundle nor a run (no {METADATA}, no recipe.yaml in it); "
            "give the folder that 'topseg train --out' or 'topseg export --out' wrote"
        )
    if folder.exists():
        raise InputError(
            f"{folder}: got a file, expected a bundle, a run or a checkpoint folder; "
            "bring foreign weights in by 'topseg convert weights'"
        )
    raise InputError(f"{model}: no such model; give a bundle, a run or a checkpoint folder")


def load(
    model: str | Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Predictor:
    """Open MODEL for prediction: ``topseg.load("run")("photo.jpg").mask``.

    Args:
        model: As for :func:`open_model`.
        runtime: "torch", or "auto" for the first one that the bundle has a graph for.
        device: "auto", "cpu", "cuda".
        threads: CPU threads of the network and the tail; None leaves the runtime's default.

    Raises:
        InputError: No such model, runtime or device, or damaged files.
    """
    bundle = open_model(model)
    opened = open_runtime(bundle, runtime, device=device, threads=threads)
    return Predictor(opened, threads=threads or 1)


def _newest(run: Path) -> Path:
    """The best weights of a run, or its newest checkpoint."""
    if (run / "best" / METADATA).is_file():
        return run / "best"
    steps = sorted(p for p in (run / "checkpoints").glob("step_*") if (p / METADATA).is_file())
    if not steps:
        raise InputError(
            f"{run}: this run has no checkpoint yet; wait for its first one (train.save_every)"
        )
    return steps[-1]
