"""Predictor: any image in, a mask at the image's own size out.

The image is resized by the model's own rule (never padded), the network runs, and the stride-8
logits are mapped straight to the image's size by the tail.
"""

from __future__ import annotations

import glob
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from topseg import drawing
from topseg.drawing import Picture, Share
from topseg.errors import InputError
from topseg.files import find_images, write_bytes
from topseg.geometry import ResizeRule, Size
from topseg.images import read_image
from topseg.labels import LabelSet, Mask
from topseg.runtimes import Runtime
from topseg.tta import WHOLE, Logits, Views, view_logits
from topseg.upsample import upsample_argmax


@dataclass(frozen=True)
class Prediction:
    """What the model sees in one image.

    Attributes:
        mask: (H, W) class indices at the image's own size.
        labels: What they mean.
        logits: (K, h, w) float32 at stride 8 of the network's input, where asked for.
    """

    mask: Mask
    labels: LabelSet
    logits: Logits | None = field(default=None, repr=False)

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        return self.mask.shape[0], self.mask.shape[1]

    def shares(self) -> tuple[Share, ...]:
        """List the classes found with their share of the image, the largest first."""
        pixels = np.bincount(self.mask.ravel(), minlength=self.labels.num_classes)
        return drawing.shares(pixels, self.labels)

    def color(self) -> Picture:
        """Give the mask in the classes' colours, (H, W, 3) uint8 RGB."""
        return drawing.colorize(self.mask, self.labels)

    def overlay(self, image: Picture, alpha: float = 0.5) -> Picture:
        """Lay the mask over the image, (H, W, 3) uint8 RGB.

        Args:
            image: The image that was given, (H, W, 3) uint8 RGB.
            alpha: How much of the colour, 0..1.

        Raises:
            InputError: An image of another size.
        """
        if image.shape != (*self.size, 3):
            raise InputError(f"overlay: got an image {image.shape}, expected {(*self.size, 3)}")
        return drawing.overlay(image, self.mask, self.labels, alpha)

    def probability(self) -> NDArray[np.float32]:
        """Give the winner's softmax probability a pixel, (H, W) float32.

        Raises:
            InputError: The logits were not kept.
        """
        planes = self._planes()
        best = next(planes)
        total = np.ones_like(best)
        for value in planes:
            larger = np.maximum(best, value)
            total = total * np.exp(best - larger) + np.exp(value - larger)
            best = larger
        return np.asarray(1 / total, np.float32)

    def probabilities(self) -> NDArray[np.float16]:
        """Give every class's softmax probability a pixel, (K, H, W) float16.

        Raises:
            InputError: The logits were not kept.
        """
        out = np.empty((self.labels.num_classes, *self.size), np.float16)
        best = np.full(self.size, -np.inf, np.float32)
        for value in self._planes():
            np.maximum(best, value, out=best)
        total = np.zeros(self.size, np.float32)
        for value in self._planes():
            total += np.exp(value - best)
        for target, value in zip(out, self._planes(), strict=True):
            target[:] = np.exp(value - best) / total
        return out

    def save(self, path: str | Path) -> None:
        """Write the mask as an index PNG with palette (16-bit grey above 255 classes).

        Raises:
            InputError: The file cannot be written.
        """
        write_bytes(Path(path), drawing.mask_png(self.mask, self.labels))

    def _planes(self) -> Any:
        """One class after the other, interpolated to the image's size."""
        if self.logits is None:
            raise InputError("probability: the logits were not kept; predict with keep_logits=True")
        size = (self.size[1], self.size[0])
        return (cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in self.logits)


class Predictor:
    """A model ready to make masks: ``predictor("photo.jpg").mask``.

    Attributes:
        runtime: The engine.
        resize: How an image becomes the network's input.
        threads: CPU threads of the tail.
        views: What is averaged; by default the whole image, once.
    """

    def __init__(
        self,
        runtime: Runtime,
        resize: ResizeRule | None = None,
        threads: int = 1,
        views: Views = WHOLE,
    ) -> None:
        """Wrap a runtime.

        Args:
            runtime: The engine.
            resize: How an image becomes the network's input; None takes the model's own rule.
            threads: CPU threads of the tail.
            views: Flips, scales and windows to average over.
        """
        self.runtime = runtime
        self.resize = resize or runtime.metadata.resize
        self.threads = threads
        self.views = views

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        return self.runtime.metadata.labels

    def __call__(
        self, image: NDArray[np.uint8] | str | Path | Image.Image, *, keep_logits: bool = False
    ) -> Prediction:
        """Make the mask of one image.

        Args:
            image: (H, W, C) uint8 (RGB), a file, or a Pillow image.
            keep_logits: Keep the logits, which probabilities are made from.

        Raises:
            InputError: The image cannot be read or has another type or channel count.
        """
        pixels = self.read(image)
        logits = self.logits(pixels)
        mask = upsample_argmax(logits, (pixels.shape[0], pixels.shape[1]), self.threads)
        return Prediction(mask, self.labels, logits if keep_logits else None)

    def logits(self, image: NDArray[np.uint8] | str | Path | Image.Image) -> Logits:
        """Give the logits of one image, (K, h, w) float32 at stride 8 of the network's input."""
        return view_logits(self.runtime, self.read(image), self.resize, self.views)

    def read(self, image: NDArray[np.uint8] | str | Path | Image.Image) -> NDArray[np.uint8]:
        """Give the image's pixels, (H, W, C) uint8, RGB for three channels.

        Raises:
            InputError: The image cannot be read or has another type or channel count.
        """
        metadata = self.runtime.metadata
        channels = metadata.model.in_channels
        if isinstance(image, str | Path):
            path = Path(image)
            return read_image(path, channels=channels, scale=metadata.input.scale)
        if isinstance(image, Image.Image):
            image = _from_pillow(image, channels)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
            raise InputError(
                f"image: got an array {image.shape} {image.dtype}, "
                f"expected (height, width, {channels}) uint8"
            )
        if 0 in image.shape:
            raise InputError(f"image: got an empty array {image.shape}")
        return image


def _from_pillow(image: Image.Image, channels: int) -> NDArray[Any]:
    image = ImageOps.exif_transpose(image)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, image.mode)
    # Pillow would cut 16-bit and float values off at 255: they are refused by their type instead.
    return np.atleast_3d(np.asarray(image if image.mode[0] in "IF" else image.convert(mode)))


def predict_files(
    predictor: Predictor,
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
        predictor: The model.
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
    if overlay and predictor.runtime.metadata.model.in_channels != 3:
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
    pixels = np.zeros(predictor.labels.num_classes, np.int64)
    failures = []
    for done, (path, stem) in enumerate(jobs, start=1):
        try:
            image = predictor.read(path)
            prediction = predictor(image, keep_logits=probability or probabilities)
        except InputError as error:
            failures.append(str(error))
        else:
            pixels += np.bincount(prediction.mask.ravel(), minlength=len(pixels))
            for kind in kinds:
                write_bytes(out / f"{stem}{kind}", _encode(prediction, image, kind))
        if progress:
            progress(done, len(jobs))
    if failures:
        head = f"{len(failures)} of {len(jobs)} images could not be read, the others are done:"
        raise InputError("\n".join([head, *failures]))
    return drawing.shares(pixels, predictor.labels)


_MASK, _OVERLAY, _COLOR = ".png", "_overlay.jpg", "_color.png"
_PROBABILITY, _PROBABILITIES = "_probability.png", "_probabilities.npz"

Job = tuple[Path, Path]
"""An image, and its outputs' path below the output folder without a suffix."""


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
