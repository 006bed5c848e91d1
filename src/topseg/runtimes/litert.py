"""The LiteRT engine (once TensorFlow Lite), for phones and small boards; XNNPACK on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes import check_cpu, check_fixed, check_graph, check_images


class LiteRtRuntime:
    """A bundle's LiteRT graph, which takes one image of one size at a time."""

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """Open the graph.

        Args:
            bundle: A bundle with a ``litert`` graph.
            device: "auto" or "cpu"; LiteRT's delegates for GPUs and NPUs are never taken unasked,
                some compute narrow attention wrongly in float16.
            threads: CPU threads; None takes LiteRT's default.

        Raises:
            InputError: Another device, or the graph does not load.
        """
        check_cpu("litert", device)
        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs["litert"]
        self.fixed_size = self._graph.fixed_size
        path = bundle.folder / self._graph.file
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path}: LiteRT cannot load it ({error})") from None
        taken = self._interpreter.get_input_details()[0]
        given = self._interpreter.get_output_details()[0]
        check_graph(path, self.metadata, taken["shape"].tolist(), given["shape"].tolist())
        self._input, self._output = taken["index"], given["index"]

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        logits = []
        for image in images:
            self._interpreter.set_tensor(self._input, image[None])
            self._interpreter.invoke()
            logits.append(self._interpreter.get_tensor(self._output))
        return np.concatenate(logits)
