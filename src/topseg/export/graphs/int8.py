"""INT8: a float graph becomes one of 8-bit integers, by the ranges that real images take in it.

Weights have a scale a channel and 7 bits: two products of 8 bits overflow the 16-bit sum of
processors without VNNI, silently. A range is the mean over the images of each one's extremes, which
a single odd image cannot stretch. What stays in float is what gained no speed or lost accuracy;
``docs/int8.md`` has the figures.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.export.graphs.litert import quantize_litert
from topseg.runtimes.quiet import quiet

Batch = NDArray[np.uint8]

_LAYERS = {"Conv", "Convolution", "GroupConvolution", "Interpolate", "MatMul", "Resize", "Softmax"}
"""Operators that are named where they stay in float; additions and activations follow their
neighbours, and differ from one engine to the next."""


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


def quantize_openvino(source: Path, target: Path, batches: Sequence[Batch]) -> tuple[str, ...]:
    """Quantise by NNCF, whose rules for transformers keep the softmax in float.

    Args:
        source: The float graph.
        target: File to write, and beside it the ``.bin``.
        batches: Images (1, H, W, C) to calibrate on.

    Returns:
        Names of the layers left in float.
    """
    import openvino

    os.environ.setdefault("NNCF_CI", "1")  # NNCF would report its use to its makers
    with quiet():
        import nncf
        from nncf.quantization.advanced_parameters import (
            AdvancedQuantizationParameters,
            OverflowFix,
        )

        nncf.set_log_level(logging.ERROR)
        plain = openvino.Core().read_model(source)
        known = {node.get_friendly_name() for node in plain.get_ordered_ops()}
        model = nncf.quantize(
            plain,
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
        )
        for number, node in enumerate(model.get_ordered_ops()):
            if node.get_friendly_name() not in known:  # else numbered through the whole process
                node.set_friendly_name(f"int8/{node.get_type_name()}_{number}")
        openvino.save_model(model, target, compress_to_fp16=False)
    layers = (node for node in model.get_ordered_ops() if node.get_type_name() in _LAYERS)
    return tuple(
        node.get_friendly_name().removesuffix("/WithoutBiases")
        for node in layers
        if not _reads_integers(node)
    )


QUANTIZERS: dict[str, Callable[[Path, Path, Sequence[Batch]], tuple[str, ...]]] = {
    "onnx": quantize_onnx,
    "openvino": quantize_openvino,
    "litert": quantize_litert,
}
"""Every format that has an int8 form, by name."""

PACKAGES = {"openvino": ("nncf",), "litert": ("ai_edge_quantizer",)}
"""What must be installed to quantise a format, beside what writes it."""


class _Reader:
    """Gives the batches one by one, as ONNX Runtime asks for them."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches: Iterator[Batch] = iter(batches)

    def get_next(self) -> dict[str, Batch] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def _reads_integers(node: Any) -> bool:
    """Whether an OpenVINO node's first input was quantised, maybe before its shape changed."""
    while True:
        node = node.input_value(0).get_node()
        if node.get_type_name() not in ("Reshape", "Transpose", "VariadicSplit"):
            return bool(node.get_type_name() == "FakeQuantize")
