"""ncnn: converted by pnnx for one image of one size, as planes of floats."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.exporting.graphs.planes import trace_planes
from topseg.exporting.graphs.source import Source
from topseg.runtimes.quiet import quiet


def write_ncnn(source: Source, folder: Path) -> Graph:
    """Write ``model.ncnn.param`` and ``model.ncnn.bin``: in0 (C, H, W) -> out0 (K, H/8, W/8).

    Raises:
        RuntimeError: pnnx fails.
    """
    path = folder / "model.ncnn.param"
    sides = ",".join(map(str, (1, source.metadata.architecture.in_channels, *source.size)))
    with quiet(), tempfile.TemporaryDirectory() as temporary:
        import pnnx

        trace_planes(source).save(f"{temporary}/model.pt")
        words = [
            pnnx.EXEC_PATH,
            "model.pt",
            f"inputshape=[{sides}]f32",
            f"fp16={int(source.precision == 'fp16')}",
            f"ncnnparam={path.resolve()}",
            f"ncnnbin={path.resolve().with_suffix('.bin')}",
        ]
        run = subprocess.run(words, cwd=temporary, capture_output=True, text=True)
    if run.returncode or not path.is_file() or "aten::" in path.read_text():
        raise RuntimeError(f"pnnx cannot convert the network: {run.stderr[-500:]}")
    return Graph(file=path.name, precision=source.precision, fixed_size=source.size)
