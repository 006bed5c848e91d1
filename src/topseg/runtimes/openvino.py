"""The OpenVINO engine: usually the fastest on x86 processors."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes import check_cpu, check_fixed, check_graph, check_images


class OpenVinoRuntime:
    """A bundle's OpenVINO graph, compiled for latency in float32."""

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """Compile the graph.

        Args:
            bundle: A bundle with an ``openvino`` graph.
            device: "auto" or "cpu"; OpenVINO's other devices are not offered.
            threads: CPU threads; None takes OpenVINO's default.

        Raises:
            InputError: Another device, or the graph does not load.
        """
        check_cpu("openvino", device)
        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs["openvino"]
        self.fixed_size = self._graph.fixed_size
        graph = bundle.folder / self._graph.file
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            # Pinned, the threads of every engine in the process sit on the same first cores: two
            # engines of one thread each are then no faster than one.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = openvino.Core().compile_model(str(graph), "CPU", options)
        except RuntimeError as error:
            raise InputError(f"{graph}: OpenVINO cannot load it ({error})") from None
        check_graph(graph, self.metadata, _sides(compiled.input(0)), _sides(compiled.output(0)))
        self._request = compiled.create_infer_request()

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        self._request.infer([images], share_inputs=True)
        logits: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return logits


def _sides(port: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in port.partial_shape]
