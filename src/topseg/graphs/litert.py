"""LiteRT: traced by litert-torch for one image of one size."""

from __future__ import annotations

from pathlib import Path

from topseg.bundle import Graph
from topseg.graphs.network import Network
from topseg.runtimes.quiet import quiet


def write_litert(network: Network, folder: Path) -> Graph:
    """Write ``model.tflite``: images (1, H, W, C) -> logits (1, K, H/8, W/8)."""
    with quiet():
        import litert_torch

        path = folder / "model.tflite"
        litert_torch.convert(network.module, (network.example,)).export(str(path))
        if network.precision == "fp16":
            _store_in_half(path)
    return Graph(file=path.name, precision=network.precision, fixed_size=network.size)


def _store_in_half(path: Path) -> None:
    """Store the filters as float16, each followed by a cast to float32."""
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(str(path))
    quantizer.add_weight_only_config(
        regex=".*",
        operation_name=TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    path.write_bytes(quantizer.quantize().quantized_model)
