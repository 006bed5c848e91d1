"""The ncnn engine: small and fast on the processors of phones and boards."""

from __future__ import annotations

from typing import Any

import ncnn
import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes import check_cpu, check_fixed, check_graph, check_images


class NcnnRuntime:
    """A bundle's ncnn graph, which takes one image of one size at a time.

    ncnn takes planes of floats, so bytes become that here; the normalisation is in the graph.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """Open the graph, and run it once.

        Args:
            bundle: A bundle with an ``ncnn`` graph.
            device: "auto" or "cpu"; ncnn's Vulkan is not offered.
            threads: CPU threads; None takes ncnn's default.

        Raises:
            InputError: Another device, or the graph does not load.
        """
        check_cpu("ncnn", device)
        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs["ncnn"]
        self.fixed_size = self._graph.fixed_size
        path = bundle.folder / self._graph.file
        weights = path.with_suffix(".bin")
        self._net = ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        # Whatever the weights are stored in, arithmetic is float32, on every processor.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if threads is not None:
            options.num_threads = threads
        if self._net.load_param(str(path)):
            raise InputError(f"{path}: ncnn cannot load it; export the model again")
        if self._net.load_model(str(weights)):
            raise InputError(f"{weights}: ncnn cannot load it; export the model again")
        channels = bundle.metadata.model.in_channels
        height, width = self.fixed_size or (64, 64)
        logits = self._run(np.zeros((height, width, channels), np.uint8))
        check_graph(path, self.metadata, (1, height, width, channels), (1, *logits.shape))

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        return np.stack([self._run(image) for image in images])

    def _run(self, image: NDArray[Any]) -> NDArray[np.float32]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        extractor = self._net.create_extractor()
        extractor.input("in0", ncnn.Mat(planes))
        failed, logits = extractor.extract("out0")
        if failed:
            raise RuntimeError(f"ncnn: the network fails with code {failed}")
        return np.array(logits, np.float32)
