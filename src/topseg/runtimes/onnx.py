"""The ONNX Runtime engine: the torch-free default, on the CPU or a GPU where its build has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError, did_you_mean
from topseg.runtimes import check_fixed, check_graph, check_images

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Devices, each falling back on those above it for what it cannot run. TensorRT is never chosen
unasked: it builds an engine for every new input size, which takes minutes."""


class OnnxRuntime:
    """A bundle's ONNX graph, run by ONNX Runtime."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "auto",
        threads: int | None = None,
        graph: str = "onnx",
    ) -> None:
        """Open the graph.

        Args:
            bundle: A bundle with an ONNX graph.
            device: "cpu", "cuda", "tensorrt", or "auto" for CUDA where this build has it.
            threads: CPU threads; None takes ONNX Runtime's default.
            graph: Name of the graph in the metadata; "onnx-mask" answers with masks (B, H, W).

        Raises:
            InputError: No such device in this build, or the graph does not load.
        """
        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs[graph]
        self.fixed_size = self._graph.fixed_size
        path = bundle.folder / self._graph.file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Threads that wait for their next share of work spin for a moment, by default for so long
        # that beside another busy process two threads are slower than one. 20 us keep the speed
        # of an idle machine, and halve the time on a busy one.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=_providers(device)
            )
        except (_state.Fail, _state.InvalidProtobuf, _state.InvalidGraph) as error:
            raise InputError(f"{path}: ONNX Runtime cannot load it ({error})") from None
        taken, given = self._session.get_inputs()[0], self._session.get_outputs()[0]
        check_graph(path, self.metadata, taken.shape, given.shape)
        self._input = taken.name

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        logits: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        return logits


def _providers(device: str) -> list[str]:
    available = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    if device not in PROVIDERS:
        raise InputError(f"device: no device '{device}'{did_you_mean(device, PROVIDERS)}")
    if PROVIDERS[device] not in available:
        raise InputError(
            f"device {device}: this build of ONNX Runtime has only {', '.join(available)}; "
            "install onnxruntime-gpu, or take --device cpu"
        )
    chain = list(PROVIDERS)[list(PROVIDERS).index(device) :: -1]
    return [PROVIDERS[name] for name in chain if PROVIDERS[name] in available]
