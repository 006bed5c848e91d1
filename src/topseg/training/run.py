"""Run: the folder of a training run, opened anew or to go on in it.

``recipe.yaml`` (resolved), ``log.jsonl``, ``checkpoints/`` and ``best/``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from topseg.core.config import Tree, to_tree, to_yaml
from topseg.core.errors import InputError
from topseg.core.files import write_text
from topseg.core.locks import hold
from topseg.data.dataset import Dataset
from topseg.recipe import Recipe, read_recipe
from topseg.training.checkpoint import (
    Checkpoint,
    discard,
    list_checkpoints,
    newest_checkpoint,
    prune,
)
from topseg.training.distributed import World

RECIPE = "recipe.yaml"

# What may change between the parts of a run: the rest decides the weights. (More steps stretch the
# decay of the learning rate from here on.)
_FREE = frozenset(
    {
        "data.root",
        "distill.cache",
        *(f"train.{key}" for key in ("steps", "workers", "log_every", "eval_every")),
        *(f"train.{key}" for key in ("save_every", "keep", "keep_best", "early_stop", "samples")),
    }
)


@contextlib.contextmanager
def hold_run(run: Path, resume: bool, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a run folder, so that no other process trains in it while the block runs.

    Raises:
        InputError: Another process holds it, there is no run to resume, or the folder cannot be
            written to.
    """
    if resume and not (run / RECIPE).is_file():
        raise InputError(f"{run}: no run to resume ({RECIPE} is missing); start without --resume")
    with hold(run / ".lock", "wait until it ends, or train into another --out", warn):
        yield


def open_run(
    run: Path, recipe: Recipe, resume: bool, warn: Callable[[str], None]
) -> tuple[Path, Checkpoint] | tuple[None, None]:
    """Make a run folder, or find and read the checkpoint at which to go on.

    Args:
        run: The folder.
        recipe: What to train.
        resume: Go on with the run in the folder.
        warn: Called with what the user should know.

    Returns:
        The newest good checkpoint and what it holds; None, None: start at step 0.

    Raises:
        InputError: The folder holds a run and ``resume`` is not set; it holds another recipe's or
            one of more steps and it is set; or it cannot be written.
    """
    path = run / RECIPE
    found: tuple[Path, Checkpoint] | tuple[None, None] = (None, None)
    if not resume and (path.exists() or (run / "checkpoints").exists()):
        raise InputError(f"{run}: holds a run already; go on with --resume or give another --out")
    if resume:
        _check_same(path, recipe)
        found = newest_checkpoint(run, warn)
        if found[1] is None:
            warn(f"{run}: no checkpoint was written yet, starting at step 0")
        else:
            _check_steps(run, found[1].state.step, recipe.train.steps)
            # Damaged ones after it would be kept as the newest, and the good ones removed.
            for folder in list_checkpoints(run):
                if folder > found[0]:
                    discard(folder)
        prune(run, recipe.train.keep)
        for leftover in run.glob(f".{RECIPE}.*"):
            leftover.unlink()
    write_text(path, to_yaml(recipe))
    return found


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Describe the data that a run is trained on, so that resuming on other data is noticed."""
    names = "\n".join(dataset.name(i) for i in range(len(dataset)))
    return {
        "classes": dataset.labels.num_classes,
        "images": len(dataset),
        "names_sha256": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
    }


def check_data(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that the data is the same: else the order of the images would be another.

    Raises:
        InputError: The data changed.
    """
    changed = [key for key in now if now[key] != before.get(key)]
    if changed:
        key = changed[0]
        what = "file names" if key == "names_sha256" else f"{before.get(key)} {key}, now {now[key]}"
        raise InputError(
            f"data: changed since the checkpoint was written ({what}); put the data back, or start "
            "another run from these weights (model.weights)"
        )


def describe_environment(world: World) -> dict[str, Any]:
    """Describe what a run is computed by, as far as it can change the last bits of the weights."""
    return {
        "processes": world.size,
        "device": world.device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def compare_environments(
    before: dict[str, Any], now: dict[str, Any], warn: Callable[[str], None]
) -> None:
    """Warn of what makes the run go on differently in the last bits."""
    changed = [
        f"{before.get(key)} {key}, now {now[key]}" for key in now if now[key] != before.get(key)
    ]
    if changed:
        warn(f"the run had {'; '.join(changed)}: it goes on, but not equal bit by bit")


def _check_same(path: Path, recipe: Recipe) -> None:
    """Check that a run goes on by its own recipe."""
    before, now = (_flat(to_tree(r)) for r in (read_recipe(path), recipe))
    keys = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if changed := [key for key in keys if key not in _FREE]:
        lines = [
            f"{path}: {key}: the run has {json.dumps(before.get(key))}, got "
            f"{json.dumps(now.get(key))}; a run keeps its recipe, train into another --out"
            for key in changed
        ]
        raise InputError("\n".join(lines))


def _check_steps(run: Path, done: int, steps: int) -> None:
    if done > steps:
        raise InputError(
            f"{run}: train.steps: got {steps}, but {done} steps are done; "
            "raise train.steps to go on"
        )


def _flat(tree: Tree, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
