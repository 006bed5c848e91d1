"""Bulk prediction: masks of files, folders, patterns and lists, several images at a time.

Each image goes from file to mask on one thread with an engine of its own. So any engine will do,
whether or not it can be shared between threads, and no core waits for another: one image a core is
faster than all cores on one image.
"""

from __future__ import annotations

import glob
import io
import queue
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from topseg import drawing
from topseg.drawing import Picture, Share
from topseg.errors import InputError
from topseg.files import find_images, write_bytes
from topseg.predict import Prediction, Predictor

T = TypeVar("T")
Job = tuple[Path, Path]
"""An image, and its outputs' path below the output folder without a suffix."""

_MASK, _OVERLAY, _COLOR = ".png", "_overlay.jpg", "_color.png"
_PROBABILITY, _PROBABILITIES = "_probability.png", "_probabilities.npz"


def predict_files(
    predictors: Sequence[Predictor],
    inputs: Sequence[str | Path],
    out: Path,
    *,
    overlay: bool = False,
    color: bool = False,
    probability: bool = False,
    probabilities: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Share, ...]:
    """Write a mask for every image: ``photos/a/b.jpg`` of folder ``photos`` -> ``out/a/b.png``.

    Args:
        predictors: The model, once for every image that is to be worked on at a time.
        inputs: Image files, folders (searched with their sub-folders, which are mirrored), patterns
            such as ``photos/*.jpg``, and ``.txt`` lists of files (relative to the list's folder).
        out: Folder for the masks.
        overlay: Write the mask laid over the image as well (``b_overlay.jpg``).
        color: Write the mask in colours as well (``b_color.png``).
        probability: Write the winner's probability as well (``b_probability.png``, 255 = certain).
        probabilities: Write every class's probability as well (``b_probabilities.npz``, an array
            'probabilities' (K, H, W) float16).
        progress: Called after each image with (done, total).

    Returns:
        The classes found over all images with their share of all pixels, the largest first.

    Raises:
        InputError: Before anything is written: nothing to do, two outputs of one name, or a folder
            that cannot be written to. At the end: one line for each image that cannot be read, all
            the others being done.
    """
    labels = predictors[0].labels
    if overlay and predictors[0].runtime.metadata.model.in_channels != 3:
        raise InputError("overlay: only for models that take three channels; leave it out")
    kinds = [_MASK]
    kinds += [_OVERLAY] if overlay else []
    kinds += [_COLOR] if color else []
    kinds += [_PROBABILITY] if probability else []
    kinds += [_PROBABILITIES] if probabilities else []
    jobs = list(dict.fromkeys(job for one in inputs for job in _expand(Path(one), out)))
    if not jobs:
        raise InputError("images: none given; give files, folders, patterns or .txt lists")
    _refuse_collisions(jobs, out, kinds)
    _check_writable(out)
    idle: queue.SimpleQueue[Predictor] = queue.SimpleQueue()
    for predictor in predictors:
        idle.put(predictor)

    def act(job: Job) -> NDArray[np.int64] | str:
        """Do one image; give its pixels of each class, or why it cannot be read."""
        path, stem = job
        predictor = idle.get()
        try:
            image = predictor.read(path)
            prediction = predictor(image, keep_logits=probability or probabilities)
        except InputError as error:
            return str(error)
        finally:
            idle.put(predictor)
        for kind in kinds:
            write_bytes(out / f"{stem}{kind}", _encode(prediction, image, kind))
        return drawing.count_pixels(prediction.mask, labels)

    pixels = np.zeros(labels.num_classes, np.int64)
    failures = []
    for done, result in enumerate(_in_order(act, jobs, len(predictors)), start=1):
        if isinstance(result, str):
            failures.append(result)
        else:
            pixels += result
        if progress:
            progress(done, len(jobs))
    if failures:
        head = f"{len(failures)} of {len(jobs)} images could not be read, the others are done:"
        raise InputError("\n".join([head, *failures]))
    return drawing.shares(pixels, labels)


def _in_order(act: Callable[[Job], T], jobs: Iterable[Job], workers: int) -> Iterator[T]:
    """Act on jobs, several at a time and few ahead, and give the results in order."""
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(act, job))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:  # an error, or Ctrl-C: finish what is begun and no more
                future.cancel()


def _encode(prediction: Prediction, image: Picture, kind: str) -> bytes:
    if kind == _OVERLAY:
        return drawing.picture_jpeg(prediction.overlay(image))
    if kind == _COLOR:
        return drawing.picture_png(prediction.color())
    if kind == _PROBABILITY:
        return drawing.picture_png(np.rint(prediction.probability() * 255).astype(np.uint8))
    if kind == _PROBABILITIES:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, probabilities=prediction.probabilities())
        return buffer.getvalue()
    return drawing.mask_png(prediction.mask, prediction.labels)


def _expand(given: Path, out: Path) -> Iterator[Job]:
    """Turn one input into the images it stands for."""
    if given.is_dir():
        images = find_images(given)
        if out.resolve().is_relative_to(given.resolve()) and out.resolve() != given.resolve():
            # Yesterday's masks are not today's images.
            images = [p for p in images if not p.resolve().is_relative_to(out.resolve())]
        if not images:
            raise InputError(f"{given}: no images in this folder")
        yield from ((image, image.relative_to(given).with_suffix("")) for image in images)
    elif glob.has_magic(str(given)) and not given.exists():
        plain = next(i for i, part in enumerate(given.parts) if glob.has_magic(part))
        root = Path(*given.parts[:plain])
        files = sorted(Path(p) for p in glob.glob(str(given), recursive=True) if Path(p).is_file())
        if not files:
            raise InputError(f"{given}: no file matches this pattern")
        yield from ((file, file.relative_to(root).with_suffix("")) for file in files)
    elif not given.is_file():
        raise InputError(f"{given}: no such file or folder")
    elif given.suffix == ".txt":
        try:
            lines = [line.strip() for line in given.read_text().splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{given}: cannot be read as a list of files ({error})") from None
        names = [Path(line) for line in lines if line]
        if not names:
            raise InputError(f"{given}: this list is empty; write one image path a line")
        for name in names:
            inside = not name.is_absolute() and ".." not in name.parts
            yield given.parent / name, name.with_suffix("") if inside else Path(name.stem)
    else:
        yield given, Path(given.stem)


def _refuse_collisions(jobs: Sequence[Job], out: Path, kinds: Sequence[str]) -> None:
    """Refuse outputs that would fall on each other or on an image."""
    sources = {path.resolve(): path for path, _ in jobs}
    owners: dict[Path, Path] = {}
    for path, stem in jobs:
        for target in (out / f"{stem}{kind}" for kind in kinds):
            other = owners.setdefault(target, path)
            if other != path:
                raise InputError(
                    f"{target}: would be written for both {other} and {path}; rename one, or "
                    "predict them into different folders"
                )
            if target.resolve() in sources:
                raise InputError(
                    f"{target}: would overwrite an image that was given; choose another --out"
                )


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write here ({error.strerror}); choose another --out"
        ) from None
