"""The Core ML engine: Apple's, on macOS only (a graph is written on any machine)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes import UnavailableError, check_cpu, check_fixed, check_images, runs_here
from topseg.runtimes.quiet import quiet


class CoreMlRuntime:
    """A bundle's Core ML graph, which takes one picture of one size at a time.

    Core ML takes pictures rather than arrays; the normalisation is in the graph.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """Open the graph.

        Args:
            bundle: A bundle with a ``coreml`` graph.
            device: "auto" or "cpu"; the GPU and the Neural Engine would compute in float16.
            threads: Left to Core ML, whatever is given.

        Raises:
            InputError: Another device, or the graph does not load.
            UnavailableError: No macOS.
        """
        check_cpu("coreml", device)
        if not runs_here("coreml"):
            raise UnavailableError(
                "runtime coreml: Core ML runs on macOS only; take another runtime"
            )
        with quiet():
            import coremltools
        self.metadata = bundle.metadata
        self._graph = bundle.metadata.graphs["coreml"]
        self.fixed_size = self._graph.fixed_size
        path = bundle.folder / self._graph.file
        try:
            self._model = coremltools.models.MLModel(
                str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY
            )
        except Exception as error:  # coremltools has no exception of its own for this
            raise InputError(f"{path}: Core ML cannot load it ({error})") from None

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32."""
        check_images(images, self.metadata)
        check_fixed(images, self._graph)
        logits = []
        for image in images:
            picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
            logits.append(self._model.predict({"image": picture})["logits"])
        return np.concatenate(logits).astype(np.float32, copy=False)
