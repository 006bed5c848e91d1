"""A runtime: PatchNet in NumPy, from the weights of a bundle, without torch."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.runtimes.base import Images, Logits, check_images
from topseg.runtimes.registry import Engine


class PatchNetNumpy:
    """Runs PatchNet: images (B, H, W, C) -> logits (B, K, H/8, W/8)."""

    engine = "patchnet_numpy"

    def __init__(self, bundle: Bundle) -> None:
        if bundle.metadata.architecture.name != "patchnet":
            raise InputError(f"{bundle.folder}: the runtime {self.engine} runs patchnet alone")
        self.metadata = bundle.metadata
        self.fixed_size: Size | None = None
        self._weights = load_file(bundle.weights)

    def __call__(self, images: Images) -> Logits:
        """Run the network."""
        check_images(images, self.metadata)
        rule = self.metadata.input
        x = (images / np.float32(255) - np.float32(rule.mean)) / np.float32(rule.std)
        B, H, W, C = x.shape
        patches = x.reshape(B, H // 8, 8, W // 8, 8, C).transpose(0, 1, 3, 5, 2, 4)
        x = self._layer("backbone.0", patches.reshape(B, H // 8, W // 8, -1)).clip(0)
        wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        near = [wide[:, i : i + H // 8, j : j + W // 8] for i in range(3) for j in range(3)]
        x = self._layer("backbone.2", np.stack(near, -1).reshape(B, H // 8, W // 8, -1)).clip(0)
        logits = self._layer("decode_head", x)
        return np.ascontiguousarray(logits.transpose(0, 3, 1, 2), np.float32)

    def _layer(self, name: str, x: Images) -> Logits:
        """Return the product of what a convolution sees with its weights."""
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return x @ weight.reshape(len(weight), -1).T + bias


def open_patchnet(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> PatchNetNumpy:
    """Open a bundle; NumPy chooses its own threads."""
    return PatchNetNumpy(bundle)


PATCHNET_NUMPY = Engine(
    name="patchnet_numpy",
    label="PatchNet in NumPy",
    opener="topseg_example.runtime:open_patchnet",
    distribution="numpy",
    install="pip install numpy",
    needs_graph=False,
)
