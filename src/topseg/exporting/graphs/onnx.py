"""ONNX: graphs of any batch and any multiple of 32, with the tail outside or inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from topseg.bundle.metadata import Graph
from topseg.exporting.graphs.source import Batch, Source
from topseg.exporting.graphs.tracing import trace_onnx
from topseg.runtimes.quiet import quiet

if TYPE_CHECKING:
    import onnx

_LAYERS = {"Conv", "MatMul", "Resize", "Softmax"}
"""Operators that are named where they stay in float; additions and activations follow their
neighbours."""


def write_onnx(source: Source, folder: Path) -> Graph:
    """Write ``model.onnx``: images -> logits (B, K, H/8, W/8)."""
    return _save_onnx(source, source.onnx, folder / "model.onnx")


def write_onnx_mask(source: Source, folder: Path) -> Graph:
    """Write ``model_mask.onnx``: images -> masks (B, H, W), upsampling and argmax inside.

    For consumers that want one file; with the tail outside the same network is several times
    faster.
    """
    from topseg.models.masks import Masks

    model = source.metadata.architecture
    traced = trace_onnx(Masks(source.module, model.num_classes), model.in_channels, "masks")
    return _save_onnx(source, traced, folder / "model_mask.onnx", tail=True)


def _save_onnx(source: Source, graph: onnx.ModelProto, path: Path, *, tail: bool = False) -> Graph:
    import onnx

    if source.precision == "fp16":
        graph = _stored_in_half(graph)
    onnx.save(graph, path)
    return Graph(file=path.name, precision=source.precision, tail=tail)


def quantize_onnx(source: Path, target: Path, batches: Sequence[Batch]) -> tuple[str, ...]:
    """Quantise the convolutions, between pairs of QuantizeLinear and DequantizeLinear (QDQ).

    Args:
        source: The float graph.
        target: File to write.
        batches: Images (1, H, W, C) to calibrate on.

    Returns:
        Names of the layers left in float.
    """
    import onnx
    from onnxruntime import quantization

    model = onnx.load(source)
    # Without this mark it asks for a shape inference that torch's exporter has done.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with quiet():
        quantization.quantize_static(
            model,
            target,
            _Reader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},
        )
    nodes = onnx.load(target).graph.node
    dequantized = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return tuple(
        node.name
        for node in nodes
        if node.op_type in _LAYERS - {"Conv"}
        or (node.op_type == "Conv" and node.input[0] not in dequantized)
    )


def _stored_in_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose filters are stored as float16, each followed by a cast to float32."""
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


class _Reader:
    """Returns the batches one by one, as ONNX Runtime asks for them."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches: Iterator[Batch] = iter(batches)

    def get_next(self) -> dict[str, Batch] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}
