"""Converting: from the labels of another tool to a data set of index masks.

The images stay where they are, or are copied on request; the masks, ``dataset.yaml`` and one list a
split are written. What was done is kept in ``conversion.jsonl``: a second run of the same command
writes the same bytes and redoes only masks whose labels or images have changed since.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg import __version__
from topseg.core import locks
from topseg.core.errors import InputError
from topseg.core.files import atomic_path, write_bytes
from topseg.core.geometry import Size
from topseg.data.annotations import find_format
from topseg.data.annotations.bitmaps import MAX_PIXELS
from topseg.data.annotations.names import Matching, match_names
from topseg.data.annotations.record import Done, Record
from topseg.data.annotations.source import OVERLAPS, Item, Options, Source, SourceFormat, paint
from topseg.data.annotations.summary import Summary
from topseg.data.annotations.writing import list_line, write_dataset
from topseg.media.drawing import mask_png
from topseg.media.images import read_orientation, read_size
from topseg.media.tiff import upright

_BLOCK: Final = 32


def convert_data(
    source: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    classes: Sequence[str] = (),
    rename: Sequence[str] = (),
    rest: str | None = None,
    options: Options = Options(),  # noqa: B008
    copy: bool = False,
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Make a data set of index masks of the labels of another tool.

    Args:
        source: A file or folder of labels.
        out: Folder of the data set; it is made, or continued.
        format: Name of the source's format; None recognizes it.
        classes: The classes, in order, or one file or published set with them; none: the source's.
        rename: Rules ``old=new`` from the source's names to classes; new may be "ignore".
        rest: Class of pixels without a label, or "ignore"; None: the class "background" where the
            classes have one, else as the format has it.
        options: Where the images are, and what else a format may be told.
        copy: Whether images are copied into the data set instead of being listed where they are.
        workers: Threads; None: one for each processor.
        report: Called with each line of the rules, before anything is written.
        progress: Called with (done, total) images.

    Returns:
        What was written, and what was left out and why.

    Raises:
        InputError: The source cannot be read, its names fit no class, the folder holds something
            else, or no image could be converted.
    """
    source, out = Path(source), Path(out)
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out}: lies in the source; choose a folder beside it")
    kind = find_format(source, format)
    opened = kind.open(source, options)
    if not opened.items:
        raise _nothing(source, opened.problems)
    matching = match_names(opened, classes, rename, rest, kind.rest)
    for line in _rules(source, kind, opened, matching):
        report(line)
    settings = {
        "format": kind.name,
        "names": opened.names,
        "classes": matching.labels.names,
        "palette": matching.labels.palette,
        "targets": [rule.target for rule in matching.rules],
        "rest": matching.rest,
        "nearest": options.nearest,
        "topseg": __version__,
    }
    busy = "wait for it, or choose another folder"
    with locks.hold_folder(out, busy, report), Record.open(out, settings) as record:
        work = functools.partial(_convert, out=out, kind=kind, matching=matching, copy=copy)
        summary = _run(work, opened, matching, record, workers or os.cpu_count() or 1, progress)
        if not summary.images:
            raise _nothing(source, summary.problems)
        write_dataset(out, matching.labels, record.done)
        record.finish()
    return summary


def _nothing(source: Path, problems: Sequence[tuple[str, str]]) -> InputError:
    """Return the error that no image is left, with the first reason."""
    name, reason = problems[0] if problems else (str(source), "it names no images")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = "" if name in reason else f"{name}: "
    return InputError(f"{source}: no image could be converted; {where}{reason}{more}")


def _rules(source: Path, kind: SourceFormat, opened: Source, matching: Matching) -> Iterator[str]:
    """Write what will be done."""
    count = f"{len(opened.items)} images, {len(opened.names)} names"
    yield f"{source}: {kind.title} (--format {kind.name}), {count}"
    if kind.overlap:
        yield f"where regions overlap: {OVERLAPS[kind.overlap]}"
    if kind.notes:
        yield f"rules: {kind.notes.replace('`', '')}"
    yield from opened.notes
    yield from matching.lines()


def _run(
    work: Callable[[Item, str, Done | None], Done],
    opened: Source,
    matching: Matching,
    record: Record,
    workers: int,
    progress: Callable[[int, int], None],
) -> Summary:
    """Convert every image, some at a time, in order."""
    summary = Summary(matching.labels, list(opened.problems))
    names = mask_names(opened.items)

    def attempt(item: Item) -> Done | InputError:
        try:
            return work(item, names[item.name], record.before.get(item.name))
        except InputError as error:
            return error

    total = len(opened.items)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, total, _BLOCK):
            block = opened.items[start : start + _BLOCK]
            for item, done in zip(block, pool.map(attempt, block), strict=True):
                if isinstance(done, InputError):
                    summary.problems.append((item.name, str(done)))
                    continue
                record.add(done)
                summary.add(done)
            progress(min(start + _BLOCK, total), total)
    return summary


def mask_names(items: Sequence[Item]) -> dict[str, str]:
    """Return each item's mask, relative to ``masks/``: its name as .png, and unlike every other."""
    stems = Counter(str(PurePosixPath(item.name).with_suffix("")).casefold() for item in items)
    names = {}
    for item in items:
        stem = PurePosixPath(item.name).with_suffix("")
        alone = stems[str(stem).casefold()] == 1
        names[item.name] = f"{stem}.png" if alone else f"{item.name}.png"
    return names


def _convert(
    item: Item,
    mask_name: str,
    before: Done | None,
    *,
    out: Path,
    kind: SourceFormat,
    matching: Matching,
    copy: bool,
) -> Done:
    """Convert one image.

    Raises:
        InputError: The image or its labels cannot be used.
    """
    image = out / "images" / item.name if copy else item.image
    mask_file = out / "masks" / mask_name
    line = list_line(out, image, mask_file)
    stamp = _stamp((item.image, *item.files))
    written = mask_file.is_file() and image.is_file()
    if written and before is not None and (before.stamp, before.line) == (stamp, line):
        return before
    size = read_size(item.image)
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{item.image}: more than {MAX_PIXELS:,} pixels; cut it into tiles")
    mask, left_out = _mask(item, size, kind, matching)
    write_bytes(mask_file, mask_png(mask.astype(matching.labels.dtype), matching.labels))
    if copy:
        with atomic_path(image) as temporary:
            shutil.copyfile(item.image, temporary)
    counts = np.bincount(mask.ravel(), minlength=matching.labels.ignore_index + 1)
    shares = counts[: matching.labels.num_classes].tolist()
    ignored = int(counts[matching.labels.ignore_index])
    reasons = dict(sorted(left_out.items()))
    return Done(item.name, item.split, line, stamp, shares, ignored, reasons)


def _mask(
    item: Item, size: Size, kind: SourceFormat, matching: Matching
) -> tuple[NDArray[np.uint16], Counter[str]]:
    """Paint one image's mask, upright as its image will be read."""
    content = item.read(size)
    turned = False
    if content.size != size:
        orientation = read_orientation(item.image)
        turned = content.size == size[::-1] and orientation >= 5
        if not turned:
            (height, width), (rows, columns) = content.size, size
            raise InputError(
                f"{item.image}: {columns}x{rows} pixels, and its labels are for {width}x{height}; "
                "use the images that were labelled"
            )
    rest = matching.value(matching.rest)
    mask, left_out = paint(content, matching.table, rest, kind.overlap)
    if turned:
        mask = np.ascontiguousarray(upright(mask, orientation))
    return mask, Counter(content.left_out) + Counter(left_out)


def _stamp(files: Sequence[Path]) -> list[int]:
    """Return what changes when one of the files does: sizes and times."""
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return [number for one in stats for number in (one.st_size, one.st_mtime_ns)]
