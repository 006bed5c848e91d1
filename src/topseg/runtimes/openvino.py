"""The OpenVINO engine, for Intel's and other x86 processors."""

from __future__ import annotations

from typing import Any

import openvino

from topseg.bundle.bundle import Bundle
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits


def open_openvino(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> GraphRuntime:
    """Compile a bundle's OpenVINO graph, for latency and in float32.

    Args:
        bundle: A bundle with an ``openvino`` graph.
        device: "auto" or "cpu"; OpenVINO's other devices are not offered.
        threads: CPU threads; None takes OpenVINO's default.

    Raises:
        InputError: The graph does not load.
    """
    file = GraphFile.of(bundle, "openvino")
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
        compiled = openvino.Core().compile_model(str(file.path), "CPU", options)
    except RuntimeError as error:
        raise file.unreadable("OpenVINO", error) from None
    file.check(_sides(compiled.input(0)), _sides(compiled.output(0)))
    request = compiled.create_infer_request()

    def run(images: Images) -> Logits:
        request.infer([images], share_inputs=True)
        logits: Logits = request.get_output_tensor(0).data.copy()
        return logits

    return GraphRuntime(file, run)


def _sides(port: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in port.partial_shape]
