"""MNN: converted from the ONNX graph, any batch and any multiple of 32."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.exporting.graphs.source import Source

# The package's own command, mnnconvert, installs another package and reports every conversion to
# its maker; the converter behind it does neither.
_CONVERT = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"


def write_mnn(source: Source, folder: Path) -> Graph:
    """Write ``model.mnn``: images (B, H, W, C) -> logits (B, K, H/8, W/8).

    Raises:
        RuntimeError: The converter fails.
    """
    path = folder / "model.mnn"
    with tempfile.TemporaryDirectory() as temporary:
        traced = Path(temporary) / "model.onnx"
        traced.write_bytes(source.onnx.SerializeToString())
        words = [sys.executable, "-c", _CONVERT, "-f", "ONNX", "--modelFile", str(traced)]
        words += ["--MNNModel", str(path), "--bizCode", "topseg"]
        words += ["--fp16"] if source.precision == "fp16" else []
        run = subprocess.run(words, capture_output=True, text=True)
    if run.returncode or not path.is_file():  # it ends with 0 whatever happens
        raise RuntimeError(
            f"MNN cannot convert the network: {run.stdout[-500:]}{run.stderr[-500:]}"
        )
    return Graph(file=path.name, precision=source.precision)
