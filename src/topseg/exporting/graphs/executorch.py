"""ExecuTorch: traced for one image of one size and lowered to XNNPACK."""

from __future__ import annotations

from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.core.errors import InputError
from topseg.exporting.graphs.source import Source
from topseg.runtimes.quiet import quiet


def write_executorch(source: Source, folder: Path) -> Graph:
    """Write ``model.pte``: images (1, H, W, C) -> logits (1, K, H/8, W/8).

    Raises:
        InputError: float16 weights, which XNNPACK would compute in float16.
    """
    if source.precision != "fp32":
        raise InputError(
            "executorch: got precision fp16, expected fp32; export this format without --precision"
        )
    import torch

    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(source.module, (source.example,))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path = folder / "model.pte"
        path.write_bytes(lowered.to_executorch().buffer)
    return Graph(file=path.name, fixed_size=source.size)
