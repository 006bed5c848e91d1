"""Checkpoint: a folder that holds a run at one step, whole or not at all.

It is written under a hidden name, every file is flushed to the disk, and one rename makes it
appear; so the last good one survives a crash at any byte. Each is a bundle too: ``metadata.json``
holds the SHA-256 of every file, by which a damaged one is recognized.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from topseg.bundle.bundle import check_file, read_metadata, write_metadata
from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError
from topseg.core.files import sync_folder

STATE = "state.json"
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A run at one step.

    Attributes:
        tensors: Name of a weight file without its suffix ("model", "ema", "optimizer") -> tensors.
        state: Everything else, as plain values; ``state["step"]`` steps are done.
    """

    tensors: Mapping[str, Tensors]
    state: dict[str, Any]


def save_checkpoint(run: Path, checkpoint: Checkpoint, metadata: Metadata) -> Path:
    """Write ``checkpoints/step_00001000`` of a run; one that is there already is replaced.

    Raises:
        InputError: It cannot be written, as when the disk is full; the older ones are whole.
    """
    folder = run / "checkpoints" / f"step_{checkpoint.state['step']:08d}"
    with new_folder(folder) as new:
        for name, tensors in checkpoint.tensors.items():
            write_tensors(new / f"{name}.safetensors", tensors)
        (new / STATE).write_text(json.dumps(checkpoint.state, indent=2) + "\n")
        write_metadata(new, metadata)
    return folder


def list_checkpoints(run: Path) -> list[Path]:
    """Return the folders of a run's checkpoints, the newest last; copies have other names."""
    return sorted((run / "checkpoints").glob(f"step_{8 * '[0-9]'}"))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint; each file is read once and checked against its SHA-256.

    Raises:
        InputError: A file is missing or damaged.
    """
    metadata = read_metadata(folder)
    if STATE not in metadata.files:
        raise InputError(f"{folder}: not a checkpoint: {STATE} is missing")
    tensors: dict[str, Tensors] = {}
    state: dict[str, Any] = {}
    for name in metadata.files:
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read ({error.strerror})") from None
        check_file(folder, metadata, name, data)
        if name == STATE:
            state = json.loads(data)
        elif name.endswith(".safetensors"):
            tensors[Path(name).stem] = load(data)
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
        except (InputError, OSError, ValueError, KeyError) as error:
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
