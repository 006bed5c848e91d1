"""Core ML: an ML program for one image of one size, written on any machine, run on Apple's."""

from __future__ import annotations

from pathlib import Path

from topseg.bundle.metadata import Graph
from topseg.core.errors import InputError
from topseg.exporting.graphs.planes import trace_planes
from topseg.exporting.graphs.source import Source
from topseg.runtimes.quiet import quiet

_LAYOUTS = {1: "GRAYSCALE", 3: "RGB"}


def write_coreml(source: Source, folder: Path) -> Graph:
    """Write ``model.mlpackage``: image (an RGB or grey picture) -> logits (1, K, H/8, W/8).

    It needs iOS 16 or macOS 13, and is computed in float32.

    Raises:
        InputError: float16 weights, which Core ML would compute in float16, or a network that
            takes no pictures.
    """
    channels = source.metadata.architecture.in_channels
    if source.precision != "fp32":
        raise InputError(
            "coreml: got precision fp16, expected fp32; export this format without --precision"
        )
    if channels not in _LAYOUTS:
        raise InputError(f"coreml: the model takes {channels} channels, expected 1 or 3")
    path = folder / "model.mlpackage"
    with quiet():
        import coremltools as ct

        image = ct.ImageType(
            name="image",
            shape=(1, channels, *source.size),
            color_layout=getattr(ct.colorlayout, _LAYOUTS[channels]),
        )
        model = ct.convert(
            trace_planes(source),
            inputs=[image],
            outputs=[ct.TensorType(name="logits")],
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(path))
    return Graph(file=path.name, fixed_size=source.size)
