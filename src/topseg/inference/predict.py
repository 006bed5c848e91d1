"""Predictor: any image in, a mask at the image's own size out.

The image is resized by the model's own rule (never padded), the network runs, and the stride-8
logits are mapped straight to the image's size by the tail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.core.geometry import ResizeRule, Size
from topseg.core.labels import LabelSet, Mask
from topseg.inference.tta import WHOLE, Logits, Views, view_logits
from topseg.inference.upsample import upsample_argmax, upsample_argmax_probability
from topseg.media import drawing
from topseg.media.drawing import Picture, Share
from topseg.media.images import read_image
from topseg.runtimes.base import Runtime

_NO_LOGITS = "probability: the logits were not kept; predict with keep_logits=True"


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
        return drawing.shares(drawing.count_pixels(self.mask, self.labels), self.labels)

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
        if self.logits is None:
            raise InputError(_NO_LOGITS)
        return upsample_argmax_probability(self.logits, self.size)[1]

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
            raise InputError(_NO_LOGITS)
        size = (self.size[1], self.size[0])
        return (cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in self.logits)


class Predictor:
    """A model ready to make masks: ``predictor("photo.jpg").mask``.

    Attributes:
        runtime: The engine.
        resize: How an image becomes the network's input, where the engine takes more than one size.
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
        channels = metadata.architecture.in_channels
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
