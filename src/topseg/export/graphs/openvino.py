"""OpenVINO: read from the ONNX graph, any batch and any multiple of 32."""

from __future__ import annotations

import io
from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.export.graphs.network import Network


def write_openvino(network: Network, folder: Path) -> Graph:
    """Write ``openvino.xml`` and ``openvino.bin``: images -> logits (B, K, H/8, W/8)."""
    import openvino

    model = openvino.Core().read_model(io.BytesIO(network.onnx.SerializeToString()))
    path = folder / "openvino.xml"
    openvino.save_model(model, path, compress_to_fp16=network.precision == "fp16")
    return Graph(file=path.name, precision=network.precision)
