"""Checking: what is wrong with a data set, file by file, everything in one pass.

Each pair is read exactly as training and evaluation read it, so that a data set without errors here
does not stop them later. Memory holds one image per worker, the counts, and about 400 bytes per
image to find the same picture twice, nearly the same in both splits (there it would make scores
look better than they are), and masks that follow their images less than the others do.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet
from topseg.core.storage import exists
from topseg.data.alignment import Alignment
from topseg.data.classes import label_set, mask_reader
from topseg.data.config import DataConfig
from topseg.data.contours import Fit, coarse_steps, fit_contours
from topseg.data.dataset import find_pairs, size_mismatch
from topseg.data.duplicates import Hash, Hashes, difference_hash
from topseg.data.errors import (
    DataError,
    UnknownValuesError,
    can_ignore,
    ignore_colors_setting,
    ignore_setting,
)
from topseg.data.layouts.layout import Split
from topseg.data.layouts.pairs import Pair, Pairs
from topseg.data.leaks import find_leaks
from topseg.data.masks import MaskReader
from topseg.data.problem import Evidence, Problem
from topseg.data.remedies import black_and_white, without_classes
from topseg.data.report import Report
from topseg.data.statistics import MaskCounts, SplitCounts, count_mask
from topseg.media.images import read_image

SPLITS: Final[tuple[Split, ...]] = ("train", "val")
_AHEAD: Final = 4  # pairs for each thread, so that none waits for a slow one


def check(
    config: DataConfig,
    *,
    channels: int = 3,
    scale: float | None = None,
    workers: int | None = None,
) -> Report:
    """Read every pair of both splits and report everything that is wrong.

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
        checked = _Checked(Report(label_set(config)))
    except DataError as error:
        raise _without_classes(config, error) from None
    report, settings, colored = checked.report, dict[str, None](), False
    for split in SPLITS:
        try:
            pairs = find_pairs(config, split)
        except InputError as error:
            report.problems.append(Problem(f"{split} split", _what(error)))
            settings |= dict.fromkeys(getattr(error, "settings", ()))
            continue
        reader = mask_reader(config, pairs)
        colored = reader.colored

        def examine(pair: Pair, reader: MaskReader = reader) -> _Finding:
            return _examine(pair, reader, channels, scale)

        threads = workers or os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            findings = _map(pool, _AHEAD * threads, examine, pairs.pairs, split)
            checked.enter(split, pairs, findings)
    report.problems += find_leaks(checked.hashes, checked.pairs, config.group)
    if checked.unknown and colored:
        settings |= dict.fromkeys(ignore_colors_setting(checked.unknown, config.ignore_colors))
    elif checked.unknown and can_ignore(checked.unknown):
        given = config.ignore_index
        before = {given} if isinstance(given, int) else set(given or ())
        settings[ignore_setting(checked.unknown | (before if checked.ignored else set()))] = None
    elif checked.ignored and (found := black_and_white(config, report.labels.names, report.seen)):
        report.problems.append(Problem("masks of 0 and 255", found.what))
        settings |= dict.fromkeys(found.settings)
    report.settings = tuple(settings | checked.settings)
    return report


@dataclass(frozen=True)
class _Finding:
    """What reading one pair gave."""

    problems: tuple[Problem, ...]
    digest: bytes | None = None
    hash: Hash | None = None
    size: Size | None = None
    counts: MaskCounts | None = None
    fit: Fit | None = None
    unknown: frozenset[int] = frozenset()
    others: bool = False
    """Whether a mask with unknown values holds ignored ones as well."""
    settings: tuple[str, ...] = ()
    """What mends the mask."""


@dataclass
class _Checked:
    """What is known of all pairs so far.

    Attributes:
        report: The report in the making.
        seen: Digest of an image's pixels -> the first split and pair that had it.
        hashes: What the images of each split look like.
        pairs: The pairs of each split.
        unknown: Mask values without a meaning.
        ignored: Whether any mask holds ignored pixels.
        settings: What mends masks, besides what concerns their values.
    """

    report: Report
    seen: dict[bytes, tuple[str, Pair]] = field(default_factory=dict)
    hashes: dict[Split, Hashes] = field(default_factory=lambda: {one: Hashes() for one in SPLITS})
    pairs: dict[Split, tuple[Pair, ...]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    ignored: bool = False
    settings: dict[str, None] = field(default_factory=dict)

    def enter(self, split: Split, pairs: Pairs, findings: Iterable[tuple[Pair, _Finding]]) -> None:
        """Enter what was found in a split."""
        labels, problems = self.report.labels, self.report.problems
        counts = SplitCounts.empty(len(pairs.pairs), labels.num_classes)
        self.report.splits[split], self.pairs[split] = counts, pairs.pairs
        alignment = Alignment()
        for orphan in pairs.orphans:
            shown = Evidence(mask=orphan)
            problems.append(Problem("mask without an image", str(orphan), False, evidence=shown))
        for other in pairs.others:
            text = f"{other}: no known image format"
            problems.append(Problem("file passed over", text, serious=False))
        for pair, finding in findings:
            problems += finding.problems
            self.unknown |= finding.unknown
            self.ignored |= finding.others
            self.settings |= dict.fromkeys(finding.settings)
            if finding.digest is not None:
                same = self._seen_before(finding.digest, split, pair)
                problems += same
                if not same:
                    self.hashes[split].add(pair, finding.hash)
            if finding.size is not None:
                counts.sizes[finding.size] += 1
            if finding.counts is not None:
                counts.add(finding.counts)
            if finding.fit is not None:
                alignment.add(pair, finding.fit)
        counts.fit = alignment.usual
        problems += alignment.problems()
        problems += _of_classes(split, counts, labels)
        self.ignored |= counts.ignored > 0

    def _seen_before(self, digest: bytes, split: str, pair: Pair) -> list[Problem]:
        if digest not in self.seen:
            self.seen[digest] = split, pair
            return []
        where, first = self.seen[digest]
        evidence = Evidence(pair.image, other=first.image)
        if where != split:
            text = f"{pair.name}: in {split} and, the same picture, in {where} ({first.name})"
            kind = "picture in both splits"
        else:
            twice = first.image == pair.image
            same = "listed twice" if twice else f"the same picture as {first.name}"
            kind, text = "picture twice in a split", f"{pair.name}: {same} ({split})"
        return [Problem(kind, text, serious=False, evidence=evidence)]


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


def _examine(pair: Pair, reader: MaskReader, channels: int, scale: float | None) -> _Finding:
    """Read one pair, and go on after its first problem."""
    problems: list[Problem] = []
    image = mask = None
    unknown: frozenset[int] = frozenset()
    others, settings = False, tuple[str, ...]()
    try:
        image = read_image(pair.image, channels, scale)
    except InputError as error:
        kind = "unreadable image" if exists(pair.image) else "missing image"
        problems.append(_of_file(kind, pair.image, error))
    readable = pair.image if image is not None else None
    if not exists(pair.mask):
        text = f"{pair.mask}: no such file, the mask of {pair.name}"
        problems.append(Problem("missing mask", text, evidence=Evidence(readable)))
    else:
        try:
            mask = reader(pair.mask)
        except InputError as error:
            place = error.at if isinstance(error, UnknownValuesError) else None
            shown = Evidence(readable, pair.mask, place)
            problems.append(_of_file("mask", pair.mask, error, shown))
            if isinstance(error, UnknownValuesError):
                unknown, others = error.values, error.others
            elif isinstance(error, DataError):
                settings = error.settings
    if image is None:
        return _Finding(tuple(problems), unknown=unknown, others=others, settings=settings)
    digest = hashlib.blake2b(image.data, digest_size=16).digest()
    looks, size = difference_hash(image), (image.shape[0], image.shape[1])
    if mask is None:
        return _Finding(
            tuple(problems),
            digest,
            looks,
            size,
            unknown=unknown,
            others=others,
            settings=settings,
        )
    fit, counts, evidence = None, count_mask(mask, reader.labels), Evidence(pair.image, pair.mask)
    if mask.shape != size:
        text = size_mismatch(pair.mask, mask.shape, pair.image, size)
        problems.append(Problem("size", text, evidence=evidence))
    elif (steps := coarse_steps(mask)) is not None:
        problems.append(_coarse(pair, size, steps))
    else:
        fit = fit_contours(image, mask, reader.labels.ignore_index)
    if counts.ignored == mask.size:
        text = f"{pair.mask}: no pixel has a class"
        problems.append(Problem("mask without a class", text, serious=False, evidence=evidence))
    return _Finding(tuple(problems), digest, looks, size, counts, fit)


def _coarse(pair: Pair, size: Size, steps: Size) -> Problem:
    high, wide = steps
    text = (
        f"{pair.mask}: its contours move in steps of {wide}x{high} pixels, as of a mask of "
        f"{size[1] // wide}x{size[0] // high} that was enlarged; save masks at their images' size"
    )
    evidence = Evidence(pair.image, pair.mask)
    return Problem("coarse mask", text, False, score=float(max(steps)), evidence=evidence)


def _without_classes(config: DataConfig, error: DataError) -> DataError:
    """Return the error that no classes are given, or what comes before it."""
    try:
        pairs = find_pairs(config, "train").pairs
    except DataError as other:
        return other if other.settings else error
    except InputError:
        return error
    return without_classes(error, pairs)


def _of_file(kind: str, file: Path, error: InputError, evidence: Evidence | None = None) -> Problem:
    """Return the problem that an error about a file is."""
    what, start = _what(error), f"{file}: "
    if isinstance(error, UnknownValuesError):
        place = f"{start}{error.place}"
        return Problem(kind, what, cause=error.cause, file=place, evidence=evidence)
    if what.startswith(start):
        cause = what.removeprefix(start)
        return Problem(kind, what, cause=cause, file=str(file), evidence=evidence)
    return Problem(kind, what, evidence=evidence)


def _of_classes(split: str, counts: SplitCounts, labels: LabelSet) -> Iterator[Problem]:
    """Find the classes that a split does not show, and a class that is alone."""
    if not counts.pixels.any():
        return
    for name, pixels in zip(labels.names, counts.pixels, strict=True):
        if not pixels:
            text = f"{split}: no pixel of '{name}'"
            yield Problem("class without pixels", text, serious=False)
    if labels.num_classes == 1:
        text = f"{split}: '{labels.names[0]}' is the only class; there is nothing to tell apart"
        yield Problem("one class", text, serious=False)


def _what(error: InputError) -> str:
    """Return what is wrong; what to set is printed once, for all problems."""
    return error.what if isinstance(error, DataError) else str(error)
