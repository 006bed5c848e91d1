"""Checkpoint: a folder that holds a run at one step, whole or not at all.

It is written under a hidden name, every file is flushed to the disk, and one rename makes it
appear; so the last good one survives a crash at any byte. Each is a bundle too: ``metadata.json``
holds the SHA-256 of every file, by which a damaged one is recognized.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from topseg.bundle.bundle import check_file, read_metadata, write_metadata
from topseg.bundle.metadata import METADATA, Metadata
from topseg.core.config import STRICT, build, to_tree
from topseg.core.errors import InputError, shorten
from topseg.core.files import sync_folder

STATE = "state.json"
Tensors = Mapping[str, Tensor]
Count = Annotated[StrictInt, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunState:
    """What ``state.json`` says of a run, beside its tensors."""

    step: Count
    """Steps done."""
    evaluated: Count
    """Step of the last evaluation."""
    top: tuple[tuple[StrictFloat, Count], ...]
    """The best evaluations, (mIoU, step), the best first."""
    stale: Count
    """Evaluations since the best one."""
    losses: tuple[StrictFloat, ...]
    """Losses since the last logged step."""
    scaler: dict[str, StrictInt | StrictFloat]
    """Of the factor that keeps float16 gradients in range; empty where there is none."""
    log_bytes: Count
    """Length of the log."""
    data: dict[str, StrictInt | StrictStr]
    """What the run is trained on."""
    environment: dict[str, StrictInt | StrictStr]
    """What it is computed by."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A run at one step.

    Attributes:
        tensors: Name of a weight file without its suffix ("model", "ema", "optimizer") -> tensors.
        state: Everything else.
    """

    tensors: Mapping[str, Tensors]
    state: RunState


def save_checkpoint(run: Path, checkpoint: Checkpoint, metadata: Metadata) -> Path:
    """Write ``checkpoints/step_00001000`` of a run; one that is there already is replaced.

    Raises:
        InputError: It cannot be written, as when the disk is full; the older ones are whole.
    """
    folder = run / "checkpoints" / f"step_{checkpoint.state.step:08d}"
    with new_folder(folder) as new:
        for name, tensors in checkpoint.tensors.items():
            write_tensors(new / f"{name}.safetensors", tensors)
        (new / STATE).write_text(json.dumps(to_tree(checkpoint.state), indent=2) + "\n")
        write_metadata(new, metadata)
    return folder


def list_checkpoints(run: Path) -> list[Path]:
    """Return the folders of a run's checkpoints, the newest last; copies have other names."""
    return sorted((run / "checkpoints").glob(f"step_{8 * '[0-9]'}"))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint; each file is read once and checked against its SHA-256.

    Raises:
        InputError: A file is missing or damaged, or does not hold what it should.
    """
    metadata = read_metadata(folder)
    for name in (STATE, "model.safetensors", "optimizer.safetensors", metadata.weights):
        if name not in metadata.files:
            raise InputError(f"{folder / METADATA}: files: does not list '{name}'")
    tensors: dict[str, Tensors] = {}
    for name in metadata.files:
        file = folder / name
        try:
            data = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})") from None
        check_file(folder, metadata, name, data)
        if name == STATE:
            state = _parse_state(data, file)
        elif name.endswith(".safetensors"):
            try:
                tensors[name.removesuffix(".safetensors")] = load(data)
            except (SafetensorError, ValueError, KeyError) as error:
                raise InputError(f"{file}: cannot be read as weights ({error})") from None
    _check_moments(tensors, folder / "optimizer.safetensors")
    return Checkpoint(tensors, state)


def newest_checkpoint(
    run: Path, warn: Callable[[str], None]
) -> tuple[Path, Checkpoint] | tuple[None, None]:
    """Find and read the newest good checkpoint of a run.

    Args:
        run: The run folder.
        warn: Called with a text about each damaged one, which is skipped.

    Returns:
        Its folder and what it holds; None, None where none was ever written.

    Raises:
        InputError: All are damaged.
    """
    folders = list_checkpoints(run)
    for folder in reversed(folders):
        try:
            return folder, load_checkpoint(folder)
        except (InputError, OSError) as error:
            warn(f"skipping a damaged checkpoint: {error}")
    if folders:
        raise InputError(
            f"{run / 'checkpoints'}: all {len(folders)} checkpoints are damaged; "
            "get them back from a copy, or train into a new folder"
        )
    return None, None


def prune(run: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and what an interrupted write or removal left.

    What cannot be removed now, such as a file on NFS that somebody has open, is tried again the
    next time; no step depends on it.
    """
    for folder in list_checkpoints(run)[:-keep]:
        discard(folder)
    for place in (run, run / "checkpoints", run / "top"):
        for leftover in place.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write a safetensors file (weights may be in channels-last memory; files never are)."""
    path.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a hidden folder that takes the place of ``folder`` when the block ends without an error.

    Raises:
        InputError: It cannot be written.
    """
    hidden = folder.parent / f".{folder.name}.tmp"
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir(parents=True)
        yield hidden
        for file in hidden.iterdir():
            with file.open("r+b") as written:
                os.fsync(written.fileno())
        sync_folder(hidden)
        if folder.exists():
            remove(folder)
        hidden.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "check the folder and its permissions"
        raise InputError(
            f"{folder}: could not be written ({error.strerror or error}); {remedy}"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder if that can be done now; no step depends on it."""
    with contextlib.suppress(OSError):
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder without a moment at which half of it is seen under its name.

    What cannot be deleted stays under a hidden name, for :func:`prune` to try again.

    Raises:
        OSError: It cannot be renamed.
    """
    hidden = (folder.parent / f".{folder.name}.{number}.old.tmp" for number in itertools.count())
    free = next(path for path in hidden if not path.exists())
    folder.rename(free)
    shutil.rmtree(free, ignore_errors=True)


def _parse_state(data: bytes, file: Path) -> RunState:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(tree, dict):
        raise InputError(f"{file}: got {shorten(tree)}, expected a mapping")
    return build(RunState, tree, str(file))


def _check_moments(tensors: Mapping[str, Tensors], file: Path) -> None:
    """Check that the optimizer's tensors are moments of the weights beside them."""
    heads = {f"heads.{name}": weight for name, weight in tensors.get("heads", {}).items()}
    weights = {**tensors["model"], **heads}
    for name, moment in tensors["optimizer"].items():
        weight = weights.get(name.rpartition(".")[0])
        if weight is None or (moment.ndim and moment.shape != weight.shape):
            raise InputError(
                f"{file}: '{name}': got {tuple(moment.shape)}, expected a moment of a weight"
            )
