"""The ExecuTorch engine, PyTorch's own for phones and small boards; XNNPACK on the CPU."""

from __future__ import annotations

import numpy as np
import torch

from topseg.bundle.bundle import Bundle
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits
from topseg.runtimes.quiet import quiet


def open_executorch(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> GraphRuntime:
    """Open a bundle's ExecuTorch program, which takes one image of one size at a time.

    Args:
        bundle: A bundle with an ``executorch`` graph.
        device: "auto" or "cpu": the program was lowered to XNNPACK.
        threads: CPU threads; ExecuTorch has one pool for the whole process, which this changes.
            None leaves it as it is, by default one thread per core.

    Raises:
        InputError: The program does not load.
    """
    with quiet():  # warns that its Python interface may change
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

    file = GraphFile.of(bundle, "executorch")
    if threads is not None and threads != portable_lib._threadpool_get_thread_count():
        portable_lib._unsafe_reset_threadpool(threads)
    try:
        program = Runtime.get().load_program(file.path)
        method = program.load_method("forward")
    except RuntimeError as error:
        raise file.unreadable("ExecuTorch", error) from None
    about = method.metadata
    file.check(about.input_tensor_meta(0).sizes(), about.output_tensor_meta(0).sizes())

    def run(images: Images) -> Logits:
        # torch warns of arrays that it may not write to, and refuses negative strides.
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        logits: Logits = torch.cat([method.execute((image[None],))[0] for image in pixels]).numpy()
        return logits

    # A program dies with the last that holds it, though its method still runs in it.
    return GraphRuntime(file, run, keep=program)
