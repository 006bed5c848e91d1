"""Tracing: a torch module becomes an ONNX graph with free batch, height and width."""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

from topseg.runtimes.quiet import quiet

if TYPE_CHECKING:
    import onnx
    from torch import nn


def trace_onnx(module: nn.Module, channels: int, output: str) -> onnx.ModelProto:
    """Trace a module that takes uint8 images (B, H, W, C).

    Args:
        module: What to trace.
        channels: C.
        output: Name of its result, "logits" or "masks".

    Returns:
        A graph that takes any batch and any multiple of 32.
    """
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
