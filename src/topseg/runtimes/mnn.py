"""The MNN engine, for phones and small boards."""

from __future__ import annotations

import os

import numpy as np

from topseg.bundle.bundle import Bundle
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits
from topseg.runtimes.quiet import mute

with mute():
    import MNN


def open_mnn(bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> GraphRuntime:
    """Open a bundle's MNN graph, computed in float32, and run it once.

    Args:
        bundle: A bundle with an ``mnn`` graph.
        device: "auto" or "cpu"; MNN's other backends are not offered.
        threads: CPU threads; None takes all cores.

    Raises:
        InputError: The graph does not load.
    """
    file = GraphFile.of(bundle, "mnn")
    threads = threads or os.cpu_count() or 1
    options = {"backend": "CPU", "numThread": threads, "precision": "high"}

    def run(images: Images) -> Logits:
        pixels = np.ascontiguousarray(images)
        # Named so because the graph comes from ONNX: sides are taken as they stand.
        given = MNN.expr.const(pixels, list(pixels.shape), MNN.expr.NCHW, MNN.expr.uint8)
        found = network.forward([given])
        if not found:
            raise RuntimeError("MNN: the network fails")
        return np.array(found[0].read(), np.float32)

    try:
        with mute():
            manager = MNN.nn.create_runtime_manager((options,))
            network = MNN.nn.load_module_from_file(
                str(file.path), ["images"], ["logits"], runtime_manager=manager
            )
            logits = run(file.black)
    except (RuntimeError, SystemError):
        raise file.unreadable("MNN") from None
    file.check(file.black.shape, logits.shape)
    return GraphRuntime(file, run, keep=manager)
