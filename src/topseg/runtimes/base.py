"""The contract of a runtime, and what the runtimes over an exported graph have in common.

An engine's file has one function that opens a bundle: it loads the graph, checks that it is this
model's, and returns a :class:`GraphRuntime` around the call that runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import Graph, Metadata
from topseg.core.errors import InputError
from topseg.core.geometry import Size

Images = NDArray[Any]
Logits = NDArray[np.float32]


class Runtime(Protocol):
    """Something that turns images into logits: PyTorch, ONNX Runtime, OpenVINO ...

    Attributes:
        engine: Name of the engine.
        metadata: Of the model.
        fixed_size: (height, width) of the only images it takes; None: any multiple of 32.
    """

    engine: str
    metadata: Metadata
    fixed_size: Size | None

    def __call__(self, images: Images) -> Logits:
        """Run the network.

        Args:
            images: (B, H, W, C) in the metadata's ``input.dtype`` (uint8 RGB by default);
                H and W are multiples of 32.

        Returns:
            (B, K, H/8, W/8) float32 logits.

        Raises:
            InputError: A size that is no multiple of 32 or not the fixed one, another dtype or
                channel count.
        """
        ...


def check_images(images: Images, metadata: Metadata, *, takes_float: bool = False) -> None:
    """Check that a network can take images, in the same words for every runtime.

    Args:
        images: What was given to the runtime.
        metadata: Of the runtime's model.
        takes_float: Whether float32 images of the same range pass too (the reference's evaluation
            resizes images as floats).

    Raises:
        InputError: Not (B, H, W, C), another dtype or channel count, an empty batch, or a side
            that is no multiple of 32.
    """
    channels = metadata.architecture.in_channels
    if images.ndim != 4 or images.shape[3] != channels or 0 in images.shape:
        raise InputError(
            f"images: got the shape {images.shape}, expected (batch, height, width, {channels})"
        )
    if images.dtype != metadata.input_dtype and not (takes_float and images.dtype == np.float32):
        raise InputError(f"images: got {images.dtype} values, expected {metadata.input_dtype}")
    height, width = images.shape[1:3]
    if height % 32 or width % 32:
        raise InputError(
            f"images: got {height}x{width} (height x width), expected multiples of 32; resize them "
            "first, as Predictor does"
        )


@dataclass(frozen=True)
class GraphFile:
    """A bundle's graph for one engine.

    Attributes:
        engine: The engine's name.
        path: The graph.
        graph: What the metadata says about it.
        metadata: Of the model.
    """

    engine: str
    path: Path
    graph: Graph
    metadata: Metadata

    @classmethod
    def of(cls, bundle: Bundle, engine: str) -> GraphFile:
        """Return the graph that a bundle has for an engine."""
        graph = bundle.metadata.graphs[engine]
        return cls(engine, bundle.folder / graph.file, graph, bundle.metadata)

    @property
    def black(self) -> NDArray[np.uint8]:
        """One black image (1, H, W, C) of a size that the graph takes, to try it with."""
        height, width = self.graph.fixed_size or (64, 64)
        return np.zeros((1, height, width, self.metadata.architecture.in_channels), np.uint8)

    def unreadable(self, engine: str, reason: object = None) -> InputError:
        """Return the error for a graph that its engine cannot load.

        Args:
            engine: As people write it.
            reason: What the engine says, if it says anything.
        """
        remedy = "export the model again" if reason is None else reason
        return InputError(f"{self.path}: {engine} cannot load it ({remedy})")

    def check(self, inputs: Sequence[object], outputs: Sequence[object]) -> None:
        """Check that the graph is the one of the model that the metadata describes.

        Args:
            inputs: Sides of the graph's input (B, H, W, C); anything but an int is free.
            outputs: Sides of its output, the classes second (none, where it ends in masks).

        Raises:
            InputError: Other channels or classes.
        """
        wanted = {"channels": self.metadata.architecture.in_channels}
        found = {"channels": inputs[3] if len(inputs) == 4 else 0}
        if len(outputs) == 4:
            wanted["classes"], found["classes"] = self.metadata.architecture.num_classes, outputs[1]
        for what, number in wanted.items():
            if isinstance(found[what], int) and found[what] != number:
                raise InputError(
                    f"{self.path}: does not match its metadata.json ({what}: the graph has "
                    f"{found[what]}, the metadata {number}); export the model again"
                )

    def check_size(self, images: Images) -> None:
        """Check that images have the one size that the graph takes, if it takes only one.

        Raises:
            InputError: Another size.
        """
        size = (images.shape[1], images.shape[2])
        if self.graph.fixed_size not in (None, size):
            (height, width), (h, w) = self.graph.fixed_size, size
            raise InputError(
                f"images: got {h}x{w} (height x width), but the graph {self.graph.file} takes only "
                f"{height}x{width}; use that size, or a graph with free sizes"
            )


class GraphRuntime:
    """A Runtime over a graph: checks the images, then lets the engine run them."""

    def __init__(
        self, file: GraphFile, run: Callable[[Images], Logits], *, keep: object = None
    ) -> None:
        """Wrap an engine's call.

        Args:
            file: The graph.
            run: Checked images (B, H, W, C) -> logits (B, K, H/8, W/8).
            keep: What the engine needs for as long as ``run`` is called.
        """
        self.engine = file.engine
        self.metadata = file.metadata
        self.fixed_size = file.graph.fixed_size
        self._file = file
        self._run = run
        self._keep = keep

    def __call__(self, images: Images) -> Logits:
        """Run the network; see :meth:`Runtime.__call__`."""
        check_images(images, self.metadata)
        self._file.check_size(images)
        return self._run(images)
