"""The ExecuTorch engine, PyTorch's own for phones and small boards; XNNPACK on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes import check_cpu, check_fixed, check_graph, check_images
from topseg.runtimes.quiet import quiet


class ExecuTorchRuntime:
    """A bundle's ExecuTorch program, which takes one image of one size at a time."""

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """Open the program.

        Args:
            bundle: A bundle with an ``executorch`` graph.
            device: "auto" or "cpu": the program was lowered to XNNPACK.
            threads: CPU threads; ExecuTorch has one pool for the whole process, which this changes.
                None leaves it as it is, by default a thread a core.

        Raises:
            InputError: Another device, or the program does not load.
        """
        check_cpu("executorch", device)
        with quiet():  # warns that its Python interface may change
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs["executorch"]
        self.fixed_size = self._graph.fixed_size
        path = bundle.folder / self._graph.file
        if threads is not None and threads != portable_lib._threadpool_get_thread_count():
            portable_lib._unsafe_reset_threadpool(threads)
        try:
            # A program dies with the last that holds it, though its method still runs in it.
            self._program = Runtime.get().load_program(path)
            self._method = self._program.load_method("forward")
        except RuntimeError as error:
            raise InputError(f"{path}: ExecuTorch cannot load it ({error})") from None
        about = self._method.metadata
        taken, given = about.input_tensor_meta(0).sizes(), about.output_tensor_meta(0).sizes()
        check_graph(path, self.metadata, taken, given)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        # torch warns of arrays that it may not write to, and refuses negative strides.
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        logits = torch.cat([self._method.execute((image[None],))[0] for image in pixels])
        result: NDArray[np.float32] = logits.numpy()
        return result
