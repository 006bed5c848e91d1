"""Predictor: any image in, a mask at the image's own size out, in three steps.

``prepare`` reads the image and resizes it by the model's own rule (never padding), ``run`` calls
the network, ``finish`` maps the stride-8 logits straight to the image's size by the tail. Whoever
needs the steps apart (the service batches, the benchmark takes times, a video smooths its logits)
calls these.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule, Size
from topseg.core.labels import LabelSet
from topseg.inference.prediction import Prediction
from topseg.inference.tta import WHOLE, Logits, Views, input_size, run_views, view_inputs
from topseg.inference.upsample import upsample_argmax
from topseg.media.images import decode_image, orientation_of, read_image
from topseg.media.tiff import upright
from topseg.runtimes.base import Runtime

Readable = NDArray[np.uint8] | str | Path | bytes | BinaryIO | Image.Image
"""What a Predictor takes: an array, a file, a file's bytes, an open file, or a Pillow image.

An array is (H, W, C) uint8, RGB for three channels; (H, W) grey, (H, W, 1) and (H, W, 4) with alpha
become what the model takes, as a file of that kind does.
"""


@dataclass(frozen=True)
class Inputs:
    """An image, read once, and what the network is to see of it.

    Attributes:
        pixels: (H, W, C) uint8.
        arrays: One for each scale, (h, w, C) uint8 at the network's input size.
    """

    pixels: NDArray[np.uint8]
    arrays: tuple[NDArray[np.uint8], ...]

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]


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

    @overload
    def __call__(self, image: list[Readable], *, keep_logits: bool = False) -> list[Prediction]: ...

    @overload
    def __call__(self, image: Readable, *, keep_logits: bool = False) -> Prediction: ...

    def __call__(
        self, image: Readable | list[Readable], *, keep_logits: bool = False
    ) -> Prediction | list[Prediction]:
        """Make the mask of one image, or of each in a list.

        Args:
            image: A file, bytes, an open file, an array or a Pillow image, or a list of them.
            keep_logits: Keep the logits, which probabilities are made from.

        Raises:
            InputError: An image cannot be read or has another type or channel count.
        """
        if isinstance(image, list):
            return [self(one, keep_logits=keep_logits) for one in image]
        return self._predict(image, keep_logits)

    def __repr__(self) -> str:
        model = self.runtime.metadata.architecture
        return f"Predictor({model.name}, {model.num_classes} classes, {self.runtime.engine})"

    def _predict(self, image: Readable, keep_logits: bool) -> Prediction:
        inputs = self.prepare(image)
        found = self.finish(self.run(inputs), inputs.size)
        logits = found.logits if keep_logits else None
        return dataclasses.replace(found, logits=logits, image=inputs.pixels)

    def prepare(self, image: Readable, size: Size | None = None) -> Inputs:
        """Read an image and resize it for the network.

        Args:
            image: A file, bytes, an open file, an array or a Pillow image.
            size: (height, width) of the network's input at scale 1, multiples of 32; None: the only
                one that the engine takes, else by the resize rule.

        Raises:
            InputError: The image cannot be read or has another type or channel count.
        """
        pixels = self.read(image)
        base = size or self.network_size((pixels.shape[0], pixels.shape[1]))
        return Inputs(pixels, view_inputs(pixels, base, self.resize.multiple, self.views))

    def run(self, inputs: Inputs) -> Logits:
        """Run the network on all views, and return their mean.

        Returns:
            (K, h, w) float32 at stride 8 of the largest view.
        """
        return run_views(self.runtime, inputs.arrays, self.views)

    def finish(self, logits: Logits, size: Size) -> Prediction:
        """Make the mask.

        Args:
            logits: (K, h, w) float32 at stride 8.
            size: (height, width) of the mask.

        Returns:
            The prediction; it holds the logits.
        """
        return Prediction(upsample_argmax(logits, size, self.threads), self.labels, logits)

    def logits(self, image: Readable) -> Logits:
        """Return the logits of one image, (K, h, w) float32 at stride 8 of the network's input."""
        return self.run(self.prepare(image))

    def network_size(self, size: Size) -> Size:
        """Return the network's input size at scale 1 for an image of (height, width)."""
        return input_size(self.runtime, self.resize, size, self.views)

    def read(self, image: Readable) -> NDArray[np.uint8]:
        """Return the image's pixels, (H, W, C) uint8, RGB for three channels.

        Raises:
            InputError: The image cannot be read or has another type or channel count.
        """
        metadata = self.runtime.metadata
        channels = metadata.architecture.in_channels
        scale = metadata.input.scale
        if isinstance(image, str | Path):
            return read_image(Path(image), channels, scale)
        if isinstance(image, bytes | bytearray | memoryview):
            return decode_image(bytes(image), "image", channels, scale)
        if hasattr(image, "read"):
            return decode_image(
                _content(image), str(getattr(image, "name", "image")), channels, scale
            )
        if isinstance(image, Image.Image):
            image = _from_pillow(image, channels)
        if not isinstance(image, np.ndarray):
            raise InputError(
                f"image: got {type(image).__name__}, expected a path, bytes, an open file, an "
                "array, a Pillow image, or a list of them"
            )
        image = _with_channels(image, channels)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
            raise InputError(
                f"image: got an array {image.shape} {image.dtype}, "
                f"expected (height, width, {channels}) uint8"
            )
        if 0 in image.shape:
            raise InputError(f"image: got an empty array {image.shape}")
        return image


def _content(file: Any) -> bytes:
    data = file.read()
    if not isinstance(data, bytes):
        raise InputError("image: got a file opened as text; open it with mode 'rb'")
    return data


def _with_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Turn grey, or colours with alpha, into what the model takes; the rest stays as it is."""
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim == 3 and channels == 3 and image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    if image.ndim == 3 and channels == 3 and image.shape[2] == 4:
        return np.ascontiguousarray(image[:, :, :3])
    return image


def _from_pillow(image: Image.Image, channels: int) -> NDArray[Any]:
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, image.mode)
    # Pillow would cut 16-bit and float values off at 255: they are refused by their type instead.
    pixels = np.asarray(image if image.mode[0] in "IF" else image.convert(mode))
    return np.ascontiguousarray(upright(np.atleast_3d(pixels), orientation_of(image)))
