"""Runtimes: the only abstraction. Images in, stride-8 logits out, normalisation inside."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from topseg.bundle import Metadata


class Runtime(Protocol):
    """Something that turns images into logits: PyTorch, ONNX Runtime, OpenVINO ..."""

    metadata: Metadata

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            images: (B, H, W, C) in the metadata's ``input.dtype`` (uint8 RGB by default);
                H and W are multiples of 32.

        Returns:
            (B, K, H/8, W/8) float32 logits.

        Raises:
            InputError: A size that is no multiple of 32, another dtype or channel count.
        """
        ...
