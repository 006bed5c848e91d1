"""LiteRT: traced by litert-torch for one image of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.exporting.graphs.source import Batch, Source
from topseg.runtimes.quiet import quiet


def write_litert(source: Source, folder: Path) -> Graph:
    """Write ``model.tflite``: images (1, H, W, C) -> logits (1, K, H/8, W/8)."""
    with quiet():
        import litert_torch

        path = folder / "model.tflite"
        litert_torch.convert(source.module, (source.example,)).export(str(path))
        if source.precision == "fp16":
            _store_in_half(path)
    return Graph(file=path.name, precision=source.precision, fixed_size=source.size)


def quantize_litert(source: Path, target: Path, batches: Sequence[Batch]) -> tuple[str, ...]:
    """Quantise every operator that has an 8-bit form: weights by channel, activations by tensor.

    Args:
        source: The float graph.
        target: File to write.
        batches: Images (1, H, W, C) of the graph's size, to calibrate on.

    Returns:
        Names of the layers left in float.
    """
    with quiet():
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
        from ai_edge_quantizer.qtyping import TFLOperationName
        from ai_edge_quantizer.quantizer import Quantizer

        quantizer = Quantizer(str(source))
        quantizer.add_static_config(
            regex=".*",
            operation_name=TFLOperationName.ALL_SUPPORTED,
            activation_num_bits=8,
            weight_num_bits=8,
        )
        quantizer.update_quantization_recipe(  # the logits stay float32, as every graph's are
            regex=".*",
            operation_name=TFLOperationName.OUTPUT,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
        images = [{"args_0": batch} for batch in batches]
        ranges = quantizer.calibrate({"serving_default": images}, num_threads=1)
        target.write_bytes(quantizer.quantize(ranges).quantized_model)
        return _float_layers(target)


def _float_layers(path: Path) -> tuple[str, ...]:
    """Name the modules that compute from float32 to float32."""
    from ai_edge_litert.schema_py_generated import TensorType
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    graph = read_model(str(path)).subgraphs[0]
    names = []
    for operator in graph.operators:
        ends = [graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0])]
        if all(tensor.type == TensorType.FLOAT32 for tensor in ends):
            names.append(_module_name(ends[1].name.decode()))
    return tuple(names)


def _module_name(tensor: str) -> str:
    """Turn the tracer's "torch.Sequential/topseg.TopFormer_1/topseg.Head_head;3" into "head"."""
    inside = tensor.partition(";")[0].split("/")[2:]
    return ".".join(part.partition("_")[2] for part in inside)


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
