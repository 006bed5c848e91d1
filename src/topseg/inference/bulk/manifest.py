"""Manifest: what is done, one line of JSON an image, so that a run can be taken up again.

A line is appended after its outputs are whole and on the disk, and holds the size and time of the
image and of each output. An image counts as done where a line agrees with what the disk has now.
So the order of the lines, who wrote them and what happened between them do not matter; a line that
is lost, cut off by a crash or overtaken by a change only means that its image is done once more.
That is why lines are not fsynced one by one: the outputs they speak of are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.files import temporary_of
from topseg.core.locks import take
from topseg.inference.bulk.jobs import Job, Shard
from topseg.inference.predictor import Predictor

Line = dict[str, Any]
"""``output`` and ``image`` as in a job, and either ``error``, or ``read`` (the image's stamp),
``model`` (a fingerprint), ``written`` (each output's stamp by its suffix) and ``pixels`` (how many,
by class index)."""
Stamp = list[int]
"""Size in bytes and time of change in ns."""

_BUSY = "choose another --out, or wait for it; several may share a folder by --shard"
_PATTERN = "manifest*.jsonl"
_STALE = 60.0
"""Seconds after which a temporary file is nobody's: writing one takes milliseconds."""


def stamp(path: str | Path) -> Stamp | None:
    """Return what tells whether a file has changed; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a name with a NUL is no file's
        return None
    return [found.st_size, found.st_mtime_ns]


def fingerprint(predictor: Predictor) -> str:
    """Name what decides the masks: weights, graphs, classes, rules, and the kind of engine.

    The device and the number of threads are left out: they may change a last bit, no more.
    """
    metadata = predictor.runtime.metadata
    parts = {
        "model": metadata.architecture,
        "files": metadata.files,
        "classes": metadata.classes,
        "palette": metadata.palette,
        "input": metadata.input,
        "resize": predictor.resize,
        "views": predictor.views,
        "engine": predictor.runtime.engine,
    }
    return hashlib.sha256(json.dumps(to_tree(parts)).encode()).hexdigest()[:16]


class Manifest:
    """The lines of one shard; a context manager.

    Every shard appends to a file of its own in the output folder and reads those of all, so that
    several may run at a time and another number of shards takes up what is done.
    """

    def __init__(self, out: Path, shard: Shard) -> None:
        """Open the shard's file.

        Args:
            out: The output folder; there already.
            shard: Which part of the run.

        Raises:
            InputError: The file cannot be written, or another process writes it.
        """
        name = f"manifest-{shard.index}-of-{shard.count}" if shard.count > 1 else "manifest"
        self.path = out / f"{name}.jsonl"
        self._out = out
        try:
            # Unbuffered: a line is one write at the end of the file, whole or not at all unless
            # the machine stops.
            self._file: IO[bytes] = self.path.open("ab", buffering=0)
            with contextlib.ExitStack() as opened:
                opened.push(self._file)
                take(self._file, self.path, _BUSY, logging.getLogger("topseg").warning)
                if _is_torn(self.path):
                    self._file.write(b"\n")
                opened.pop_all()
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot write here ({error.strerror}); choose another --out"
            ) from None

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, line: Line) -> None:
        """Add a line.

        Raises:
            InputError: The disk is full.
        """
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise InputError(f"{self.path}: could not be written ({error.strerror})") from None

    def done(self, jobs: Iterable[Job], model: str, kinds: Sequence[str]) -> Iterator[Line]:
        """Return a line for each job that is done and unchanged.

        Args:
            jobs: What there is to do.
            model: Fingerprint of the model that is to do it.
            kinds: Suffixes of the outputs that are asked for.
        """
        left = {job.output: job.image for job in jobs}
        for line in _read(self._out):
            output, written = line["output"], line["written"]
            if (
                output in left
                and line.get("model") == model
                and all(kind in written for kind in kinds)
                and line.get("read") == stamp(left[output])
                and all(written[kind] == stamp(self._out / f"{output}{kind}") for kind in kinds)
            ):
                del left[output]
                yield line


def remove_leftovers(out: Path, jobs: Sequence[Job], kinds: Sequence[str]) -> None:
    """Remove what a run that was killed has begun to write and not finished."""
    mine = {job.output for job in jobs}
    for folder in {os.path.dirname(output) for output in mine}:
        with contextlib.suppress(OSError, ValueError), os.scandir(out / folder) as entries:
            for entry in entries:
                target = os.path.join(folder, temporary_of(entry.name) or "")
                if any(target.endswith(k) and target.removesuffix(k) in mine for k in kinds):
                    _remove_stale(entry)


def _remove_stale(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        if time.time() - entry.stat().st_mtime > _STALE:
            os.unlink(entry)


def _read(out: Path) -> Iterator[Line]:
    for path in sorted(out.glob(_PATTERN)):
        if not path.is_file():
            continue
        with path.open("rb") as lines:
            for line in lines:
                # Cut off by a crash, being written now, or of another program.
                with contextlib.suppress(ValueError, RecursionError):
                    found = json.loads(line)
                    if _is_done(found):
                        yield found


def _is_done(line: Any) -> bool:
    """Check the form of a line: its image is done, and its counts are of classes and add up."""
    if not isinstance(line, dict) or not isinstance(line.get("output"), str):
        return False
    written, pixels = line.get("written"), line.get("pixels")
    if not isinstance(written, dict) or not isinstance(pixels, dict):
        return False
    return all(
        index.isascii()
        and index.isdecimal()
        and len(index) <= 5
        and type(count) is int
        and 0 <= count < 1 << 40
        for index, count in pixels.items()
    )


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
