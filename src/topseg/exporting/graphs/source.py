"""Source: what every writer of graphs is given."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from topseg.bundle.metadata import Metadata
from topseg.core.geometry import Size
from topseg.exporting.graphs.tracing import trace_onnx
from topseg.runtimes.base import Runtime

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

Precision = Literal["fp32", "fp16", "int8"]

Batch = NDArray[Any]
"""Images (B, H, W, C) in the dtype of the model's input."""


class Source:
    """A network on its way out of torch.

    Attributes:
        metadata: Of the model.
        precision: Type that weights are stored in; arithmetic is float32 either way.
        size: (height, width) that graphs of a fixed size are written for.
        module: The torch module with its normalisation, uint8 images -> logits.
    """

    def __init__(
        self, runtime: Runtime, metadata: Metadata, precision: Precision, size: Size
    ) -> None:
        from torch import nn

        from topseg.models.normalize import Normalize
        from topseg.runtimes.torch import TorchRuntime

        assert isinstance(runtime, TorchRuntime)
        self.metadata = metadata
        self.precision = precision
        self.size = size
        self.module = nn.Sequential(Normalize(metadata.input), runtime.model).eval()

    @property
    def example(self) -> Tensor:
        """One black image (1, H, W, C) uint8 of the fixed size, to trace with."""
        import torch

        return torch.zeros(1, *self.size, self.metadata.architecture.in_channels, dtype=torch.uint8)

    @functools.cached_property
    def onnx(self) -> onnx.ModelProto:
        """The network as ONNX, float32: images -> logits (B, K, H/8, W/8)."""
        return trace_onnx(self.module, self.metadata.architecture.in_channels, "logits")
