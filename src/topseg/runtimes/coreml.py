"""The Core ML engine: Apple's, on macOS only (a graph is written on any machine)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.runtimes.base import GraphFile, GraphRuntime, Images, Logits
from topseg.runtimes.quiet import quiet


def open_coreml(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> GraphRuntime:
    """Open a bundle's Core ML graph, which takes one picture of one size at a time.

    Core ML takes pictures rather than arrays; the normalisation is in the graph.

    Args:
        bundle: A bundle with a ``coreml`` graph.
        device: "auto" or "cpu"; the GPU and the Neural Engine would compute in float16.
        threads: Left to Core ML, whatever is given.

    Raises:
        InputError: The graph does not load.
    """
    with quiet():
        import coremltools
    file = GraphFile.of(bundle, "coreml")
    try:
        model = coremltools.models.MLModel(
            str(file.path), compute_units=coremltools.ComputeUnit.CPU_ONLY
        )
    except Exception as error:  # coremltools has no exception of its own for this
        raise file.unreadable("Core ML", error) from None

    def run(images: Images) -> Logits:
        logits = []
        for image in images:
            picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
            logits.append(model.predict({"image": picture})["logits"])
        return np.concatenate(logits).astype(np.float32, copy=False)

    return GraphRuntime(file, run)
