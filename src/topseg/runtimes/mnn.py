"""The MNN engine, for phones and small boards."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes import check_cpu, check_fixed, check_graph, check_images
from topseg.runtimes.quiet import mute

with mute():
    import MNN


class MnnRuntime:
    """A bundle's MNN graph, computed in float32."""

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """Open the graph, and run it once.

        Args:
            bundle: A bundle with an ``mnn`` graph.
            device: "auto" or "cpu"; MNN's other backends are not offered.
            threads: CPU threads; None takes all cores.

        Raises:
            InputError: Another device, or the graph does not load.
        """
        check_cpu("mnn", device)
        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs["mnn"]
        self.fixed_size = self._graph.fixed_size
        path = bundle.folder / self._graph.file
        threads = threads or os.cpu_count() or 1
        options = {"backend": "CPU", "numThread": threads, "precision": "high"}
        channels = bundle.metadata.model.in_channels
        black = np.zeros((1, *(self.fixed_size or (64, 64)), channels), np.uint8)
        try:
            with mute():
                self._manager = MNN.nn.create_runtime_manager((options,))
                self._network = MNN.nn.load_module_from_file(
                    str(path), ["images"], ["logits"], runtime_manager=self._manager
                )
                logits = self._run(black)
        except (RuntimeError, SystemError):
            raise InputError(f"{path}: MNN cannot load it; export it again") from None
        check_graph(path, self.metadata, (None, None, None, channels), logits.shape)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        return self._run(images)

    def _run(self, images: NDArray[Any]) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(images)
        # Named so because the graph comes from ONNX: sides are taken as they stand.
        given = MNN.expr.const(pixels, list(pixels.shape), MNN.expr.NCHW, MNN.expr.uint8)
        found = self._network.forward([given])
        if not found:
            raise RuntimeError("MNN: the network fails")
        return np.array(found[0].read(), np.float32)
