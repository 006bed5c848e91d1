"""The same mIoU on every engine: MODEL is exported and evaluated on DATA by each.

    python benchmarks/export_miou.py NAME MODEL DATA [data.key=value ...]

NAME names the result file.
"""

import argparse
import tempfile
from pathlib import Path

from models import write_result
from topseg.data.dataset import open_dataset
from topseg.evaluation.run import evaluate
from topseg.exporting.run import export, proof_images
from topseg.inference.hub import load, open_model
from topseg.recipe import read_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    bundle = open_model(arguments.model)
    dataset = open_dataset(read_data(arguments.data, arguments.overrides), "val")
    images = proof_images(bundle.metadata, dataset)
    rows = ["| stored in | engine | mIoU | difference in points | size |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        first = None
        for precision in ("fp32", "fp16"):
            out = Path(name) / precision
            made = export(bundle, out, ["onnx", "openvino"], images=images, precision=precision)
            for runtime in ("torch", "onnx", "openvino"):
                miou = evaluate(load(out, runtime=runtime, threads=2), dataset).miou * 100
                first = miou if first is None else first
                file = made.metadata.graphs[runtime].file if runtime != "torch" else made.weights
                size = (out / file).with_suffix(
                    ".bin" if runtime == "openvino" else Path(file).suffix
                )
                rows.append(
                    f"| {precision} | {runtime} | {miou:.3f} | {miou - first:+.3f} | "
                    f"{size.stat().st_size / 1e6:.1f} MB |"
                )
    body = "\n".join([*rows, "", f"{len(dataset)} images, at their original resolution."])
    write_result(f"export_miou_{arguments.name}", f"mIoU by engine: {arguments.name}", body)


if __name__ == "__main__":
    main()
