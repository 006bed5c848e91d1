"""OpenVINO: read from the ONNX graph, any batch and any multiple of 32."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topseg.bundle.metadata import Graph
from topseg.exporting.graphs.source import Batch, Source
from topseg.runtimes.quiet import quiet

_LAYERS = {"Convolution", "GroupConvolution", "Interpolate", "MatMul", "Softmax"}
"""Operators that are named where they stay in float; additions and activations follow their
neighbours."""


def write_openvino(source: Source, folder: Path) -> Graph:
    """Write ``openvino.xml`` and ``openvino.bin``: images -> logits (B, K, H/8, W/8)."""
    import openvino

    model = openvino.Core().read_model(io.BytesIO(source.onnx.SerializeToString()))
    path = folder / "openvino.xml"
    openvino.save_model(model, path, compress_to_fp16=source.precision == "fp16")
    return Graph(file=path.name, precision=source.precision)


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


def _reads_integers(node: Any) -> bool:
    """Whether an OpenVINO node's first input was quantised, maybe before its shape changed."""
    while True:
        node = node.input_value(0).get_node()
        if node.get_type_name() not in ("Reshape", "Transpose", "VariadicSplit"):
            return bool(node.get_type_name() == "FakeQuantize")
