"""The ncnn engine: small and fast on the processors of phones and boards."""

from __future__ import annotations

from typing import Any

import ncnn
import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits


def open_ncnn(bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> GraphRuntime:
    """Open a bundle's ncnn graph and run it once; it takes one image of one size at a time.

    ncnn takes planes of floats, so bytes become that here; the normalisation is in the graph.

    Args:
        bundle: A bundle with an ``ncnn`` graph.
        device: "auto" or "cpu"; ncnn's Vulkan is not offered.
        threads: CPU threads; None takes ncnn's default.

    Raises:
        InputError: The graph does not load.
    """
    file = GraphFile.of(bundle, "ncnn")
    weights = file.path.with_suffix(".bin")
    net = ncnn.Net()
    options = net.opt
    options.use_vulkan_compute = False
    # Whatever the weights are stored in, arithmetic is float32, on every processor.
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = False
    if threads is not None:
        options.num_threads = threads
    if net.load_param(str(file.path)):
        raise file.unreadable("ncnn")
    if net.load_model(str(weights)):
        raise InputError(f"{weights}: ncnn cannot load it (export the model again)")

    def run(images: Images) -> Logits:
        return np.stack([_run(net, image) for image in images])

    file.check(file.black.shape, run(file.black).shape)
    return GraphRuntime(file, run)


def _run(net: Any, image: NDArray[Any]) -> Logits:
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(planes))
    failed, logits = extractor.extract("out0")
    if failed:
        raise RuntimeError(f"ncnn: the network fails with code {failed}")
    return np.array(logits, np.float32)
