"""Checking: what is wrong with a data set, file by file, everything in one pass.

Each pair is read exactly as training and evaluation read it, so that a data set without errors here
does not stop them later. Memory holds one image per worker, the counts, and about 300 bytes per
image to find the same picture twice, or nearly the same in both splits: there it would make scores
look better than they are.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet
from topseg.core.storage import exists
from topseg.data.classes import label_set, mask_reader
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs, size_mismatch
from topseg.data.duplicates import Hash, Hashes, difference_hash
from topseg.data.errors import DataError, UnknownValuesError, can_ignore, ignore_setting
from topseg.data.layouts.layout import Split
from topseg.data.layouts.pairs import Pair, Pairs
from topseg.data.leaks import find_leaks
from topseg.data.masks import MaskReader
from topseg.data.problem import Problem, problem_lines
from topseg.data.remedies import black_and_white, with_settings, without_classes
from topseg.media.images import read_image

SPLITS: Final[tuple[Split, ...]] = ("train", "val")
_AHEAD: Final = 4  # pairs for each thread, so that none waits for a slow one


@dataclass
class SplitCounts:
    """What a split holds.

    Attributes:
        images: Its pairs.
        pixels: (K,) pixels of each class, int64.
        images_with: (K,) images that show each class, int64.
        ignored: Pixels without a class.
        smallest: The smallest image's (height, width), by area; None before the first.
        largest: The largest image's.
    """

    images: int
    pixels: NDArray[np.int64]
    images_with: NDArray[np.int64]
    ignored: int = 0
    smallest: Size | None = None
    largest: Size | None = None

    def add_mask(self, counts: NDArray[np.int64], ignored: int) -> None:
        """Count the pixels of one mask."""
        self.pixels += counts
        self.images_with += counts > 0
        self.ignored += ignored

    def add_size(self, size: Size) -> None:
        """Take note of one image's (height, width)."""
        sizes = [known for known in (self.smallest, self.largest, size) if known is not None]
        self.smallest = min(sizes, key=lambda known: known[0] * known[1])
        self.largest = max(sizes, key=lambda known: known[0] * known[1])


@dataclass
class Report:
    """The state of a data set; ``str(report)`` is for people.

    Attributes:
        labels: Its classes.
        splits: What each split holds, by name.
        problems: Everything found, errors and warnings.
        settings: What to set in the data section to mend what settings can, as ``key=value``.
    """

    labels: LabelSet
    splits: dict[str, SplitCounts] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    settings: tuple[str, ...] = ()

    @property
    def errors(self) -> list[Problem]:
        """The problems that would stop training or evaluation."""
        return [problem for problem in self.problems if problem.serious]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that would not."""
        return [problem for problem in self.problems if not problem.serious]

    @property
    def seen(self) -> NDArray[np.int64]:
        """(K,) pixels of each class in all splits."""
        zeros = np.zeros(self.labels.num_classes, np.int64)
        return sum((split.pixels for split in self.splits.values()), zeros)

    def text(self, limit: int | None = 10, command: Sequence[str] = ("topseg", "check")) -> str:
        """Write the report.

        Args:
            limit: Lines of each kind of problem; None writes all.
            command: The words that made it; the remedy is the same with more settings.
        """
        lines = [line for name in self.splits for line in self._split_lines(name)]
        for title, problems in (("error", self.errors), ("warning", self.warnings)):
            if problems:
                lines.append(f"{len(problems)} {title}{'s' if len(problems) > 1 else ''}")
                lines += problem_lines(problems, limit)
        if not self.problems:
            lines.append("no problems found")
        if self.settings:
            lines.append(f"to mend it: {with_settings(command, self.settings)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def _split_lines(self, name: str) -> Iterator[str]:
        split = self.splits[name]
        total = max(1, int(split.pixels.sum()) + split.ignored)
        sizes = dict.fromkeys(filter(None, (split.smallest, split.largest)))
        span = " to ".join(f"{width}x{height}" for height, width in sizes)
        yield f"{name}: {split.images} images" + (f", {span} pixels" if span else ", none readable")
        if not split.pixels.any():
            return
        width = max(5, *(len(label) for label in self.labels.names))
        yield f"  {'class':{width}}  {'pixels':>15}  {'share':>8}  {'images':>8}"
        rows = zip(self.labels.names, split.pixels, split.images_with, strict=True)
        for label, pixels, images in rows:
            yield f"  {label:{width}}  {pixels:15,}  {pixels / total:8.2%}  {images:8,}"
        yield f"  {'-':{width}}  {split.ignored:15,}  {split.ignored / total:8.2%}  (no class)"
        yield ""


def check(
    config: DataConfig,
    *,
    channels: int = 3,
    scale: float | None = None,
    workers: int | None = None,
) -> Report:
    """Read every pair of both splits and say everything that is wrong.

    Args:
        config: The data set.
        channels: Channels of an image, as the model takes them.
        scale: Factor from 16-bit values to 0..255, as for :func:`topseg.media.images.read_image`.
        workers: Threads that read; None: one for each processor.

    Returns:
        The report; problems of the files are in it and are not raised.

    Raises:
        InputError: What the masks mean is not known (classes, palette, label map).
    """
    try:
        report = Report(label_set(config))
    except DataError as error:  # what the masks hold may still be told
        raise without_classes(config, error) from None
    unknown: set[int] = set()
    ignored = False
    settings: dict[str, None] = {}
    seen: dict[bytes, tuple[str, Pair]] = {}
    hashes: dict[Split, Hashes] = {split: Hashes() for split in SPLITS}
    names: dict[Split, list[str]] = {}
    for split in SPLITS:
        try:
            pairs = find_pairs(config, split)
        except InputError as error:
            report.problems.append(Problem(f"{split} split", _what(error)))
            settings |= dict.fromkeys(getattr(error, "settings", ()))
            continue
        reader = mask_reader(config, pairs)
        names[split] = [pair.name for pair in pairs.pairs]

        def examine(pair: Pair, reader: MaskReader = reader) -> _Finding:
            return _examine(pair, reader, channels, scale)

        threads = workers or os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            findings = _map(pool, _AHEAD * threads, examine, pairs.pairs, split)
            more, ignores = _count(report, split, pairs, findings, seen, hashes[split])
            unknown, ignored = unknown | more, ignored or ignores
    report.problems += find_leaks(hashes, names, config.group)
    if unknown and can_ignore(unknown):
        given = config.ignore_index
        before = {given} if isinstance(given, int) else set(given or ())
        settings[ignore_setting(unknown | (before if ignored else set()))] = None
    elif ignored and (found := black_and_white(config, report.labels.names, report.seen)):
        report.problems.append(Problem("masks of 0 and 255", found.what))
        settings |= dict.fromkeys(found.settings)
    report.settings = tuple(settings)
    return report


def _of_file(kind: str, file: Path, error: InputError) -> Problem:
    """Return the problem that an error about a file is."""
    what, start = _what(error), f"{file}: "
    if isinstance(error, UnknownValuesError):
        return Problem(kind, what, cause=error.cause, file=f"{start}{error.place}")
    if what.startswith(start):
        return Problem(kind, what, cause=what.removeprefix(start), file=str(file))
    return Problem(kind, what)


def _what(error: InputError) -> str:
    """Return what is wrong; what to set is told once for all problems."""
    return error.what if isinstance(error, DataError) else str(error)


@dataclass(frozen=True)
class _Finding:
    """What reading one pair gave."""

    problems: tuple[Problem, ...]
    digest: bytes | None = None
    hash: Hash | None = None
    size: Size | None = None
    counts: NDArray[np.int64] | None = None
    ignored: int = 0
    unknown: frozenset[int] = frozenset()
    others: bool = False
    """Whether a mask with unknown values holds ignored ones as well."""


def _map(
    pool: ThreadPoolExecutor,
    ahead: int,
    examine: Callable[[Pair], _Finding],
    pairs: tuple[Pair, ...],
    split: str,
) -> Iterator[tuple[Pair, _Finding]]:
    """Examine pairs, some ahead, and yield in order; a progress bar where a person watches."""
    waited: Iterable[Pair] = pairs
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        waited = track(pairs, f"check {split}", console=Console(stderr=True), transient=True)
    coming = iter(pairs)
    jobs = deque(pool.submit(examine, pair) for pair in itertools.islice(coming, ahead))
    for pair in waited:
        yield pair, jobs.popleft().result()
        jobs.extend(pool.submit(examine, one) for one in itertools.islice(coming, 1))


def _count(
    report: Report,
    split: str,
    pairs: Pairs,
    findings: Iterable[tuple[Pair, _Finding]],
    seen: dict[bytes, tuple[str, Pair]],
    hashes: Hashes,
) -> tuple[set[int], bool]:
    """Enter what was found in a split into the report.

    Returns:
        Mask values without a meaning, and whether any mask holds ignored ones.
    """
    unknown: set[int] = set()
    ignores = False
    names = report.labels.names
    zeros = np.zeros(len(names), np.int64)
    counts = report.splits[split] = SplitCounts(len(pairs.pairs), zeros, zeros.copy())
    for orphan in pairs.orphans:
        report.problems.append(Problem("mask without an image", str(orphan), serious=False))
    for other in pairs.others:
        text = f"{other}: no known image format"
        report.problems.append(Problem("file passed over", text, serious=False))
    for pair, finding in findings:
        report.problems += finding.problems
        unknown |= finding.unknown
        ignores |= finding.others
        if finding.digest is not None:
            same = _seen_before(seen, finding.digest, split, pair)
            report.problems += same
            if not same:
                hashes.add(pair.name, finding.hash)
        if finding.size is not None:
            counts.add_size(finding.size)
        if finding.counts is not None:
            counts.add_mask(finding.counts, finding.ignored)
    for name, pixels in zip(names, counts.pixels, strict=True):
        if not pixels and counts.pixels.any():
            text = f"{split}: no pixel of '{name}'"
            report.problems.append(Problem("class without pixels", text, serious=False))
    if len(names) == 1 and counts.pixels.any():
        text = f"{split}: '{names[0]}' is the only class; there is nothing to tell apart"
        report.problems.append(Problem("one class", text, serious=False))
    return unknown, ignores or counts.ignored > 0


def _examine(pair: Pair, reader: MaskReader, channels: int, scale: float | None) -> _Finding:
    """Read one pair, and go on after its first problem."""
    problems: list[Problem] = []
    image = mask = None
    unknown: frozenset[int] = frozenset()
    others = False
    try:
        image = read_image(pair.image, channels, scale)
    except InputError as error:
        kind = "unreadable image" if exists(pair.image) else "missing image"
        problems.append(_of_file(kind, pair.image, error))
    if not exists(pair.mask):
        text = f"{pair.mask}: no such file, the mask of {pair.name}"
        problems.append(Problem("missing mask", text))
    else:
        try:
            mask = reader(pair.mask)
        except InputError as error:
            problems.append(_of_file("mask", pair.mask, error))
            if isinstance(error, UnknownValuesError):
                unknown, others = error.values, error.others
    if image is None:
        return _Finding(tuple(problems), unknown=unknown, others=others)
    digest = hashlib.blake2b(image.data, digest_size=16).digest()
    looks, size = difference_hash(image), (image.shape[0], image.shape[1])
    if mask is None:
        return _Finding(tuple(problems), digest, looks, size, unknown=unknown, others=others)
    if mask.shape != size:
        text = size_mismatch(pair.mask, mask.shape, pair.image, size)
        problems.append(Problem("size", text))
    labels = reader.labels
    counts = np.bincount(mask.ravel(), minlength=labels.ignore_index + 1)
    ignored = int(counts[labels.ignore_index])
    if ignored == mask.size:
        text = f"{pair.mask}: no pixel has a class"
        problems.append(Problem("mask without a class", text, serious=False))
    own = counts[: labels.num_classes].copy()
    return _Finding(tuple(problems), digest, looks, size, own, ignored)


def _seen_before(
    seen: dict[bytes, tuple[str, Pair]], digest: bytes, split: str, pair: Pair
) -> list[Problem]:
    if digest not in seen:
        seen[digest] = split, pair
        return []
    where, first = seen[digest]
    if where != split:
        text = f"{pair.name}: in {split} and, the same picture, in {where} ({first.name})"
        return [Problem("picture in both splits", text, serious=False)]
    same = "listed twice" if first.image == pair.image else f"the same picture as {first.name}"
    return [Problem("picture twice in a split", f"{pair.name}: {same} ({split})", serious=False)]
