"""The native engine: this project's own, compiled from ``native/``, on a bundle's weights alone.

It reads ``weights.safetensors`` as it is, in float16, bfloat16 or float32, and computes in float32.
"""

from __future__ import annotations

import json
import os

import numpy as np

from topseg import _native
from topseg.bundle.bundle import Bundle
from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.geometry import STRIDE
from topseg.runtimes.base import Images, Logits, check_images


class NativeRuntime:
    """A bundle's network on the compiled engine; a Runtime."""

    engine = "native"
    takes_float = True

    def __init__(self, bundle: Bundle, *, threads: int | None = None, path: str = "") -> None:
        """Load the weights and pack them for this processor.

        Args:
            bundle: The model.
            threads: CPU threads; None takes all cores. The logits do not depend on it.
            path: Code path, one of ``_native.model_paths()``; empty: the fastest here.

        Raises:
            InputError: The weights do not fit the metadata.
        """
        self.metadata = bundle.metadata
        self.fixed_size = None
        self._threads = threads or os.cpu_count() or 1
        metadata = json.dumps(to_tree(bundle.metadata))
        try:
            self._model = _native.open_model(
                metadata, bundle.weights.read_bytes(), str(bundle.weights), path
            )
        except ValueError as error:
            raise InputError(str(error)) from None

    def __call__(self, images: Images) -> Logits:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32 logits.

        Float32 images of 0..255 are taken as well.

        Raises:
            InputError: A size that is no multiple of 32, another dtype or channel count.
        """
        return self._run(images, None)

    def stages(self, images: Images) -> list[tuple[str, float]]:
        """Run the network and return the name of each stage with the seconds that it took."""
        laps: list[tuple[str, float]] = []
        self._run(images, laps)
        return laps

    def _run(self, images: Images, laps: list[tuple[str, float]] | None) -> Logits:
        check_images(images, self.metadata, takes_float=True)
        batch, height, width, _ = images.shape
        classes = self.metadata.architecture.num_classes
        logits = np.empty((batch, classes, height // STRIDE, width // STRIDE), np.float32)
        _native.model_logits(
            self._model,
            np.ascontiguousarray(images),
            (batch, height, width),
            images.dtype == np.float32,
            logits,
            self._threads,
            laps,
        )
        return logits


def open_native(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> NativeRuntime:
    """Open a bundle's weights.

    Args:
        bundle: The model.
        device: "auto" or "cpu".
        threads: CPU threads; None takes all cores.

    Raises:
        InputError: The weights do not fit the metadata.
    """
    return NativeRuntime(bundle, threads=threads)
