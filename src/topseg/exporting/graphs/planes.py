"""Planes: TorchScript for the converters that start from it, of engines that take float planes."""

from __future__ import annotations

from typing import Any

from topseg.exporting.graphs.source import Source


def trace_planes(source: Source) -> Any:
    """Trace the network for one image of its fixed size.

    It is exported first, which makes every length a constant, and then frozen, which makes the
    pooling matrices constants as well: no converter meets the whole numbers they are made of.

    Returns:
        A TorchScript module: (1, C, H, W) float32 of 0..255 -> logits (1, K, H/8, W/8), the
        normalisation inside.
    """
    import torch

    from topseg.models.normalize import NormalizePlanes

    normalize = NormalizePlanes(source.metadata.input)
    module = torch.nn.Sequential(normalize, source.module[1]).eval()
    example = torch.zeros(1, source.metadata.architecture.in_channels, *source.size)
    with torch.no_grad():
        exported = torch.export.export(module, (example,)).module()
        for node in exported.graph.nodes:
            if node.target is torch.ops.aten.mT.default:  # which no converter knows
                node.target = torch.ops.aten.transpose.int
                node.args = (*node.args, -2, -1)
        exported.recompile()
        trace: Any = torch.jit.trace
        return torch.jit.freeze(trace(exported, example, check_trace=False).eval())
