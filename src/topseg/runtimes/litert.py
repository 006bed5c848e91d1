"""The LiteRT engine (once TensorFlow Lite), for phones and small boards; XNNPACK on the CPU."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from topseg.bundle.bundle import Bundle
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits


def open_litert(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> GraphRuntime:
    """Open a bundle's LiteRT graph, which takes one image of one size at a time.

    Args:
        bundle: A bundle with a ``litert`` graph.
        device: "auto" or "cpu"; LiteRT's delegates for GPUs and NPUs are never taken unasked, some
            compute narrow attention wrongly in float16.
        threads: CPU threads; None takes LiteRT's default.

    Raises:
        InputError: The graph does not load.
    """
    file = GraphFile.of(bundle, "litert")
    try:
        interpreter = Interpreter(str(file.path), num_threads=threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise file.unreadable("LiteRT", error) from None
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    file.check(taken["shape"].tolist(), given["shape"].tolist())

    def run(images: Images) -> Logits:
        logits = []
        for image in images:
            interpreter.set_tensor(taken["index"], image[None])
            interpreter.invoke()
            logits.append(interpreter.get_tensor(given["index"]))
        return np.concatenate(logits)

    return GraphRuntime(file, run)
