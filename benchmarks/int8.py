"""What the choices of int8 cost: MODEL's ONNX graph quantised with one of them changed at a time.

    python benchmarks/int8.py MODEL DATA [key=value ...]

Ranges come from DATA's training split, mIoU from its validation split.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
from onnxruntime import quantization

from models import write_result
from topseg.bundle.bundle import Bundle
from topseg.data.dataset import open_dataset
from topseg.evaluation.run import evaluate
from topseg.exporting.graphs.onnx import quantize_onnx
from topseg.exporting.quantization import calibration_batches, calibration_images
from topseg.exporting.run import export, proof_images
from topseg.inference.hub import open_model
from topseg.inference.predictor import Predictor
from topseg.recipe import read_data
from topseg.runtimes.registry import open_runtime

quantize_static = quantization.quantize_static


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    data = read_data(arguments.data, arguments.overrides)
    train, val = open_dataset(data, "train"), open_dataset(data, "val")
    bundle = open_model(arguments.model)
    batches = calibration_batches(calibration_images(train), bundle.metadata)
    with tempfile.TemporaryDirectory() as folder:
        images = proof_images(bundle.metadata, val)
        made = export(bundle, Path(folder) / "bundle", ["onnx"], images=images)
        graph = made.folder / made.metadata.graphs["onnx"].file
        plain = Path(folder) / "float.onnx"
        graph.rename(plain)
        layers = [n.name for n in onnx.load(plain).graph.node if n.op_type == "Conv"]

        def row(name: str, count: int = len(batches), **changes: Any) -> str:
            def changed(*args: Any, **settings: Any) -> None:
                quantize_static(*args, **settings | changes)

            with mock.patch.object(quantization, "quantize_static", changed):
                quantize_onnx(plain, graph, batches[:: len(batches) // count])
            miou = score(made, val)
            return f"| {name} | {100 * (miou - start):+.2f} | {graph.stat().st_size / 1e6:.2f} MB |"

        def without(*parts: str) -> dict[str, list[str]]:
            return {"nodes_to_exclude": [n for n in layers if any(part in n for part in parts)]}

        graph.write_bytes(plain.read_bytes())
        start = score(made, val)
        rows = ["| int8 | mIoU, points | file |", "|---|---|---|"]
        rows += [f"| none: float32, {start:.2%} | | {plain.stat().st_size / 1e6:.2f} MB |"]
        rows += [row(f"as topseg does, {len(batches)} images")]
        rows += [row(f"{count} images", count) for count in (16, 32)]
        rows += [row("weights of 8 bits", reduce_range=False)]
        rows += [row("one scale a layer", per_channel=False)]
        rows += [row("ranges of the extremes", extra_options={})]
        rows += [row("every operator", op_types_to_quantize=None)]
        rows += [row("first layer in float", **without("tpm.stem"))]
        rows += [row("classifier in float", **without("conv_seg"))]
        rows += [row("queries and keys in float", **without("to_q", "to_k"))]
        rows += [row("gates in float", **without("global_act"))]
        rows += [row("pyramid in float", **without("tpm."))]
    write_result("int8", "INT8: what each choice costs", "\n".join(rows))


def score(made: Bundle, val: Any) -> float:
    return evaluate(Predictor(open_runtime(made, "onnx", device="cpu", threads=1)), val).miou


if __name__ == "__main__":
    main()
