"""Graphs: the writers of exported networks, a file a format.

Every graph keeps the contract of a Runtime: uint8 RGB (B, H, W, C) in, stride-8 logits out,
normalisation inside. Where an engine can, a graph takes any batch and any multiple of 32; the
others are written for one size, which their :class:`Graph` declares. A writer imports its converter
only when it is called.
"""

from collections.abc import Callable
from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.export.graphs.coreml import write_coreml
from topseg.export.graphs.executorch import write_executorch
from topseg.export.graphs.litert import write_litert
from topseg.export.graphs.mnn import write_mnn
from topseg.export.graphs.ncnn import write_ncnn
from topseg.export.graphs.network import Network, Precision
from topseg.export.graphs.onnx import trace_onnx, write_onnx, write_onnx_mask
from topseg.export.graphs.openvino import write_openvino

__all__ = ["EXTRAS", "PACKAGES", "WRITERS", "Network", "Precision", "trace_onnx"]

WRITERS: dict[str, Callable[[Network, Path], Graph]] = {
    "onnx": write_onnx,
    "onnx-mask": write_onnx_mask,
    "openvino": write_openvino,
    "litert": write_litert,
    "executorch": write_executorch,
    "ncnn": write_ncnn,
    "mnn": write_mnn,
    "coreml": write_coreml,
}
"""Every format that has a graph, by name."""

PACKAGES = {
    "onnx": ("onnx", "onnxscript"),
    "onnx-mask": ("onnx", "onnxscript"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "litert": ("litert_torch",),
    "executorch": ("executorch",),
    "ncnn": ("pnnx", "ncnn"),
    "mnn": ("onnx", "onnxscript", "MNN"),
    "coreml": ("coremltools",),
}
"""What must be installed to write a format, beside torch."""

EXTRAS = {"onnx-mask": "onnx", "litert": "litert-export"}
"""The extra that brings a format's packages, where it has another name than the format: LiteRT's
engine is small, its converter is not."""
