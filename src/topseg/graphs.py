"""Graphs: the writers of exported networks, one function a format.

Every graph keeps the contract of a Runtime: uint8 RGB (B, H, W, C) in, stride-8 logits out,
normalisation inside, any batch and any multiple of 32.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from topseg.bundle import Graph, Metadata
from topseg.runtimes import Runtime

if TYPE_CHECKING:
    import onnx
    from torch import nn

Precision = Literal["fp32", "fp16"]


class Network:
    """A network on its way out of torch.

    Attributes:
        metadata: Of the model.
        precision: Type that weights are stored in; arithmetic is float32 either way.
        module: The torch module with its normalisation, uint8 images -> logits.
    """

    def __init__(self, runtime: Runtime, metadata: Metadata, precision: Precision) -> None:
        from torch import nn

        from topseg.models.normalize import Normalize
        from topseg.runtimes.torch import TorchRuntime

        assert isinstance(runtime, TorchRuntime)
        self.metadata = metadata
        self.precision = precision
        self.module = nn.Sequential(Normalize(metadata.input), runtime.model).eval()

    @functools.cached_property
    def onnx(self) -> onnx.ModelProto:
        """The network as ONNX, float32: images -> logits (B, K, H/8, W/8)."""
        return trace_onnx(self.module, self.metadata.model.in_channels, "logits")


def write_onnx(network: Network, folder: Path) -> Graph:
    """Write ``model.onnx``: images -> logits (B, K, H/8, W/8)."""
    return _save_onnx(network, network.onnx, folder / "model.onnx")


def write_onnx_mask(network: Network, folder: Path) -> Graph:
    """Write ``model_mask.onnx``: images -> masks (B, H, W), upsampling and argmax inside.

    For consumers that want one file; with the tail outside the same network is several times
    faster.
    """
    from topseg.models.masks import Masks

    model = network.metadata.model
    traced = trace_onnx(Masks(network.module, model.num_classes), model.in_channels, "masks")
    return _save_onnx(network, traced, folder / "model_mask.onnx", tail=True)


def write_openvino(network: Network, folder: Path) -> Graph:
    """Write ``openvino.xml`` and ``openvino.bin``: images -> logits (B, K, H/8, W/8)."""
    import openvino

    model = openvino.Core().read_model(io.BytesIO(network.onnx.SerializeToString()))
    path = folder / "openvino.xml"
    openvino.save_model(model, path, compress_to_fp16=network.precision == "fp16")
    return Graph(file=path.name, precision=network.precision)


WRITERS: dict[str, Callable[[Network, Path], Graph]] = {
    "onnx": write_onnx,
    "onnx-mask": write_onnx_mask,
    "openvino": write_openvino,
}
"""Every format that has a graph, by name."""

PACKAGES = {
    "onnx": ("onnx", "onnxscript"),
    "onnx-mask": ("onnx", "onnxscript"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
"""What must be installed to write a format, beside torch."""


def _save_onnx(
    network: Network, graph: onnx.ModelProto, path: Path, *, tail: bool = False
) -> Graph:
    import onnx

    if network.precision == "fp16":
        graph = _stored_in_half(graph)
    onnx.save(graph, path)
    return Graph(file=path.name, precision=network.precision, tail=tail)


def trace_onnx(module: nn.Module, channels: int, output: str) -> onnx.ModelProto:
    """Turn a module that takes uint8 images into ONNX with free batch, height and width."""
    import torch
    from torch.export import Dim

    # Unequal sides and a batch of two, so that the tracer takes no two sizes for one.
    example = torch.zeros(2, 256, 320, channels, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=((Dim.DYNAMIC, Dim.DYNAMIC, Dim.DYNAMIC, Dim.STATIC),),
            input_names=["images"],
            output_names=[output],
            verbose=False,
        )
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    _strip(graph)
    names = {"images": ("batch", "height", "width"), "masks": ("batch", "height", "width")}
    for value in (*graph.graph.input, *graph.graph.output):
        sides = names.get(value.name, ("batch", None, "height/8", "width/8"))
        for dimension, name in zip(value.type.tensor_type.shape.dim, sides, strict=False):
            if name is not None:
                dimension.dim_param = name
    return graph


def _strip(graph: onnx.ModelProto) -> None:
    """Leave out the notes of the tracer: source lines and paths of the machine that exported."""
    for value in (*graph.graph.node, *graph.graph.value_info, *graph.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    graph.graph.ClearField("metadata_props")
    graph.ClearField("metadata_props")


def _stored_in_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Give a copy whose filters are stored as float16, each followed by a cast to float32."""
    import numpy as np
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    half = ModelProto()
    half.CopyFrom(graph)
    casts = []
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            name = tensor.name
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *half.graph.node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress marks and advice off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
