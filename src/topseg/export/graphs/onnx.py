"""ONNX: graphs of any batch and any multiple of 32, with the tail outside or inside."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from topseg.bundle.metadata import Graph
from topseg.export.graphs.network import Network
from topseg.runtimes.quiet import quiet

if TYPE_CHECKING:
    import onnx
    from torch import nn


def write_onnx(network: Network, folder: Path) -> Graph:
    """Write ``model.onnx``: images -> logits (B, K, H/8, W/8)."""
    return _save_onnx(network, network.onnx, folder / "model.onnx")


def write_onnx_mask(network: Network, folder: Path) -> Graph:
    """Write ``model_mask.onnx``: images -> masks (B, H, W), upsampling and argmax inside.

    For consumers that want one file; with the tail outside the same network is several times
    faster.
    """
    from topseg.models.masks import Masks

    model = network.metadata.architecture
    traced = trace_onnx(Masks(network.module, model.num_classes), model.in_channels, "masks")
    return _save_onnx(network, traced, folder / "model_mask.onnx", tail=True)


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
    with quiet():
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
    _name_nodes(graph)
    _strip(graph)
    names = {"images": ("batch", "height", "width"), "masks": ("batch", "height", "width")}
    for value in (*graph.graph.input, *graph.graph.output):
        sides = names.get(value.name, ("batch", None, "height/8", "width/8"))
        for dimension, name in zip(value.type.tensor_type.shape.dim, sides, strict=False):
            if name is not None:
                dimension.dim_param = name
    return graph


def _name_nodes(graph: onnx.ModelProto) -> None:
    """Name every node by its module and operator, such as ``decode_head.conv_seg/Conv``."""
    count: Counter[str] = Counter()
    for node in graph.graph.node:
        notes = {note.key: note.value for note in node.metadata_props}
        scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))
        # The last is the node itself; a number leads, the network's place behind Normalize.
        module = re.sub(r"^.*?\d+\.?", "", scopes[-2]) if len(scopes) > 1 else ""
        name = f"{module}/{node.op_type}" if module else node.op_type
        count[name] += 1
        node.name = f"{name}_{count[name]}" if count[name] > 1 else name


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
