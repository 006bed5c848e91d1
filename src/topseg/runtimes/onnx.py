"""The ONNX Runtime engine: the torch-free default, on the CPU or a GPU where its build has it."""

from __future__ import annotations

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Devices, each falling back on those above it for what it cannot run. TensorRT is never chosen
unasked: it builds an engine for every new input size, which takes minutes."""


def open_onnx(bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> GraphRuntime:
    """Open a bundle's ONNX graph.

    Args:
        bundle: A bundle with an ``onnx`` graph, of logits or of masks (B, H, W).
        device: "cpu", "cuda", "tensorrt", or "auto" for CUDA where this build has it.
        threads: CPU threads; None takes ONNX Runtime's default.

    Raises:
        InputError: No such device in this build, or the graph does not load.
    """
    file = GraphFile.of(bundle, "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Threads that wait for their next share of work spin for a moment, by default for so long
    # that beside another busy process two threads are slower than one. 20 us keep the speed
    # of an idle machine, and halve the time on a busy one.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(
            str(file.path), options, providers=_providers(device)
        )
    except (_state.Fail, _state.InvalidProtobuf, _state.InvalidGraph) as error:
        raise file.unreadable("ONNX Runtime", error) from None
    taken, given = session.get_inputs()[0], session.get_outputs()[0]
    file.check(taken.shape, given.shape)

    def run(images: Images) -> Logits:
        logits: Logits = session.run(None, {taken.name: images})[0]
        return logits

    return GraphRuntime(file, run)


def _providers(device: str) -> list[str]:
    """Return the providers of a device, the wanted one first."""
    available = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    if PROVIDERS[device] not in available:
        raise InputError(
            f"device {device}: this build of ONNX Runtime has only {', '.join(available)}; "
            "install onnxruntime-gpu, or take --device cpu"
        )
    chain = list(PROVIDERS)[list(PROVIDERS).index(device) :: -1]
    return [PROVIDERS[name] for name in chain if PROVIDERS[name] in available]
