"""Runtimes: the only abstraction. Images in, stride-8 logits out, normalisation inside.

What predicts, evaluates, measures or serves knows this call and nothing of the engine behind it, so
a number has the same meaning in training, after export and on a server.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle, Graph, Metadata
from topseg.core.errors import InputError, did_you_mean
from topseg.core.geometry import Size

# ONNX Runtime's builds since 1.29 send usage data to their maker, unless told not to before the
# import, which quantisation does too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class Runtime(Protocol):
    """Something that turns images into logits: PyTorch, ONNX Runtime, OpenVINO ...

    Attributes:
        metadata: Of the model.
        fixed_size: (height, width) of the only images it takes; None: any multiple of 32.
    """

    metadata: Metadata
    fixed_size: Size | None

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
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


RUNTIMES = {
    "onnx": "pip install onnxruntime",
    "openvino": "pip install 'topseg[openvino]'",
    "litert": "pip install 'topseg[litert]'",
    "executorch": "pip install 'topseg[executorch]'",
    "ncnn": "pip install 'topseg[ncnn]'",
    "mnn": "pip install 'topseg[mnn]'",
    "coreml": "pip install 'topseg[coreml]'",
    "torch": "pip install 'topseg[train]'",
}
"""Every runtime and what brings its package, in the order that "auto" tries them."""

ENGINES = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai-edge-litert",
    "executorch": "executorch",
    "ncnn": "ncnn",
    "mnn": "MNN",
    "coreml": "coremltools",
    "torch": "torch",
}
"""The distribution that a runtime's version is read from."""

_CLASSES = {
    "onnx": "OnnxRuntime",
    "openvino": "OpenVinoRuntime",
    "litert": "LiteRtRuntime",
    "executorch": "ExecuTorchRuntime",
    "ncnn": "NcnnRuntime",
    "mnn": "MnnRuntime",
    "coreml": "CoreMlRuntime",
}
"""A runtime's class in the file of its name."""


class UnavailableError(InputError):
    """This machine cannot run an engine, or has not got it installed."""


def runs_here(name: str) -> bool:
    """Whether this kind of machine can run an engine at all."""
    return name != "coreml" or sys.platform == "darwin"


def engine_version(name: str) -> str:
    """Give a runtime's package and its version, such as "openvino 2026.4.1"."""
    return f"{ENGINES[name]} {importlib.metadata.version(ENGINES[name])}"


def open_runtime(
    bundle: Bundle, name: str = "auto", *, device: str = "auto", threads: int | None = None
) -> Runtime:
    """Open a bundle's network on an engine.

    Args:
        bundle: The model.
        name: A name of ``RUNTIMES``, or "auto" for the first one that the bundle has a graph for
            (torch needs none, the weights are enough).
        device: "auto" (a GPU where the engine can use one), "cpu", "cuda" ...
        threads: CPU threads of the network; None leaves the engine's default.

    Raises:
        InputError: No such runtime or device, the bundle has no graph for it, or it does not load.
        UnavailableError: Its package is not installed, or cannot run on this machine.
    """
    graphs = bundle.metadata.graphs
    if name == "auto":
        name = next((n for n in RUNTIMES if n in graphs and runs_here(n)), "torch")
    if name not in RUNTIMES:
        raise InputError(f"runtime: no runtime '{name}'{did_you_mean(name, ['auto', *RUNTIMES])}")
    if name != "torch" and name not in graphs:
        raise InputError(
            f"{bundle.folder}: has no {name} graph; make one with 'topseg export --formats {name}'"
        )
    try:
        return _open(bundle, name, device, threads)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("topseg"):
            raise
        raise UnavailableError(
            f"runtime {name}: the package '{error.name}' is not installed; {RUNTIMES[name]}"
        ) from None


def _open(bundle: Bundle, name: str, device: str, threads: int | None) -> Runtime:
    """Import an engine's file only here, where it is wanted."""
    if name == "torch":
        from topseg.runtimes.torch import open_torch

        return open_torch(bundle, device=device, threads=threads)
    engine = getattr(importlib.import_module(f"topseg.runtimes.{name}"), _CLASSES[name])
    runtime: Runtime = engine(bundle, device=device, threads=threads)
    return runtime


def check_images(images: NDArray[Any], metadata: Metadata, *, takes_float: bool = False) -> None:
    """Refuse what a network cannot take, in the same words for every runtime.

    Args:
        images: What was given to the runtime.
        metadata: Of the runtime's model.
        takes_float: Whether float32 images of the same range pass too (the reference's evaluation
            resizes images as floats).

    Raises:
        InputError: Not (B, H, W, C), another dtype or channel count, an empty batch, or a side
            that is no multiple of 32.
    """
    channels = metadata.model.in_channels
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


def check_graph(
    path: Path, metadata: Metadata, inputs: Sequence[object], outputs: Sequence[object]
) -> None:
    """Refuse a graph that is another model's than the metadata beside it.

    Args:
        path: The graph's file.
        metadata: Of its bundle.
        inputs: Sides of the graph's input; anything but an int is free.
        outputs: Sides of its output, the classes second (none, where it ends in masks).

    Raises:
        InputError: Other channels or classes.
    """
    wanted = {"channels": metadata.model.in_channels}
    found = {"channels": inputs[3] if len(inputs) == 4 else 0}
    if len(outputs) == 4:
        wanted["classes"], found["classes"] = metadata.model.num_classes, outputs[1]
    for what, number in wanted.items():
        if isinstance(found[what], int) and found[what] != number:
            raise InputError(
                f"{path}: does not match its metadata.json ({what}: the graph has {found[what]}, "
                f"the metadata {number}); export the model again"
            )


def check_cpu(name: str, device: str) -> None:
    """Refuse a device that an engine of the CPU has not got.

    Raises:
        InputError: Neither "auto" nor "cpu".
    """
    if device not in ("auto", "cpu"):
        raise InputError(f"device {device}: the {name} runtime has only 'cpu'")


def check_fixed(images: NDArray[Any], graph: Graph) -> None:
    """Refuse images of another size than a graph of one fixed size takes.

    Raises:
        InputError: Another size.
    """
    size = (images.shape[1], images.shape[2])
    if graph.fixed_size not in (None, size):
        (height, width), (h, w) = graph.fixed_size, size
        raise InputError(
            f"images: got {h}x{w} (height x width), but the graph {graph.file} takes only "
            f"{height}x{width}; use that size, or a graph with free sizes"
        )
