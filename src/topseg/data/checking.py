"""Checking: what is wrong with a data set, file by file, everything in one pass.

Each pair is read exactly as training and evaluation read it, so that a data set without errors here
does not stop them later. Memory holds one image per worker, the counts, and 16 bytes per image to
find the same picture twice: in both splits it would make scores look better than they are.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet
from topseg.data.classes import label_set, mask_reader
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs, size_mismatch
from topseg.data.layouts.layout import Split
from topseg.data.layouts.pairs import Pair, Pairs
from topseg.data.masks import MaskReader
from topseg.media.images import read_image

SPLITS: Final[tuple[Split, ...]] = ("train", "val")
_BLOCK: Final = 32


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing, such as "missing mask".
        text: One line: which file, what, and how to mend it.
        serious: Training or evaluation would stop at it (an error), or not (a warning).
    """

    kind: str
    text: str
    serious: bool = True


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
    """

    labels: LabelSet
    splits: dict[str, SplitCounts] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """The problems that would stop training or evaluation."""
        return [problem for problem in self.problems if problem.serious]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that would not."""
        return [problem for problem in self.problems if not problem.serious]

    def text(self, limit: int | None = 10) -> str:
        """Write the report.

        Args:
            limit: Lines of each kind of problem; None writes all.
        """
        lines = [line for name in self.splits for line in self._split_lines(name)]
        for title, problems in (("error", self.errors), ("warning", self.warnings)):
            if problems:
                lines.append(f"{len(problems)} {title}{'s' if len(problems) > 1 else ''}")
                lines += _problem_lines(problems, limit)
        if not self.problems:
            lines.append("no problems found")
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
    config: DataConfig, *, channels: int = 3, scale: float | None = None, workers: int = 1
) -> Report:
    """Read every pair of both splits and say everything that is wrong.

    Args:
        config: The data set.
        channels: Channels of an image, as the model takes them.
        scale: Factor from 16-bit values to 0..255, as for :func:`topseg.media.images.read_image`.
        workers: Threads that read.

    Returns:
        The report; problems of the files are in it and are not raised.

    Raises:
        InputError: What the masks mean is not known (classes, palette, label map).
    """
    report = Report(label_set(config))
    seen: dict[bytes, tuple[str, Pair]] = {}
    for split in SPLITS:
        try:
            pairs = find_pairs(config, split)
        except InputError as error:
            report.problems.append(Problem(f"{split} split", str(error)))
            continue
        reader = mask_reader(config, pairs)

        def examine(pair: Pair, reader: MaskReader = reader) -> _Finding:
            return _examine(pair, reader, channels, scale)

        with ThreadPoolExecutor(workers) as pool:
            _count(report, split, pairs, _map(pool, examine, pairs.pairs, split), seen)
    return report


@dataclass(frozen=True)
class _Finding:
    """What reading one pair gave."""

    problems: tuple[Problem, ...]
    digest: bytes | None = None
    size: Size | None = None
    counts: NDArray[np.int64] | None = None
    ignored: int = 0


def _map(
    pool: ThreadPoolExecutor,
    examine: Callable[[Pair], _Finding],
    pairs: tuple[Pair, ...],
    split: str,
) -> Iterator[tuple[Pair, _Finding]]:
    """Examine pairs in order, some at a time, with a progress bar where a person watches."""
    starts: Iterable[int] = range(0, len(pairs), _BLOCK)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        starts = track(starts, f"check {split}", console=Console(stderr=True), transient=True)
    for start in starts:
        block = pairs[start : start + _BLOCK]
        yield from zip(block, pool.map(examine, block), strict=True)


def _count(
    report: Report,
    split: str,
    pairs: Pairs,
    findings: Iterable[tuple[Pair, _Finding]],
    seen: dict[bytes, tuple[str, Pair]],
) -> None:
    """Enter what was found in a split into the report."""
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
        if finding.digest is not None:
            report.problems += _seen_before(seen, finding.digest, split, pair)
        if finding.size is not None:
            counts.add_size(finding.size)
        if finding.counts is not None:
            counts.add_mask(finding.counts, finding.ignored)
    for name, pixels in zip(names, counts.pixels, strict=True):
        if not pixels and counts.pixels.any():
            text = f"{split}: no pixel of '{name}'"
            report.problems.append(Problem("class without pixels", text, serious=False))


def _examine(pair: Pair, reader: MaskReader, channels: int, scale: float | None) -> _Finding:
    """Read one pair, and go on after its first problem."""
    problems: list[Problem] = []
    image = mask = None
    try:
        image = read_image(pair.image, channels, scale)
    except InputError as error:
        kind = "unreadable image" if pair.image.exists() else "missing image"
        problems.append(Problem(kind, str(error)))
    if not pair.mask.exists():
        problems.append(
            Problem("missing mask", f"{pair.mask}: no such file, the mask of {pair.name}")
        )
    else:
        try:
            mask = reader(pair.mask)
        except InputError as error:
            problems.append(Problem("mask", str(error)))
    if image is None:
        return _Finding(tuple(problems))
    digest = hashlib.blake2b(image.data, digest_size=16).digest()
    size = image.shape[0], image.shape[1]
    if mask is None:
        return _Finding(tuple(problems), digest, size)
    if mask.shape != size:
        text = size_mismatch(pair.mask, mask.shape, pair.image, size)
        problems.append(Problem("size", text))
    labels = reader.labels
    counts = np.bincount(mask.ravel(), minlength=labels.ignore_index + 1)
    ignored = int(counts[labels.ignore_index])
    if ignored == mask.size:
        text = f"{pair.mask}: no pixel has a class"
        problems.append(Problem("mask without a class", text, serious=False))
    return _Finding(tuple(problems), digest, size, counts[: labels.num_classes].copy(), ignored)


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


def _problem_lines(problems: list[Problem], limit: int | None) -> Iterator[str]:
    kinds = dict.fromkeys(problem.kind for problem in problems)
    for kind in kinds:
        texts = [problem.text for problem in problems if problem.kind == kind]
        yield f"  {kind} ({len(texts)})"
        for text in texts[:limit]:
            yield from (f"    {line}" for line in text.splitlines())
        if limit is not None and len(texts) > limit:
            yield f"    ... and {len(texts) - limit} more"
