"""The PyTorch runtime: a live model, or a bundle's weights with batch norms folded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.interop import load_weights
from topseg.models import find_variant
from topseg.models.fuse import fuse
from topseg.models.normalize import Normalize
from topseg.runtimes.base import check_images


class TorchRuntime:
    """Runs a module on a device; a Runtime.

    Args:
        model: Normalised float NCHW -> logits. It is moved to the device and otherwise left as it
            is: a model in training goes on training after each call.
        metadata: Of the model.
        device: Where to run.
    """

    engine = "torch"
    takes_float = True

    def __init__(
        self, model: nn.Module, metadata: Metadata, device: str | torch.device = "cpu"
    ) -> None:
        self.metadata = metadata
        self.fixed_size: Size | None = None
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self._normalize = Normalize(metadata.input).to(self.device)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network: (B, H, W, C) uint8 -> (B, K, H/8, W/8) float32 logits.

        Float32 images of 0..255 are taken as well: the reference's evaluation never rounds them.

        Raises:
            InputError: A size that is no multiple of 32, another dtype or channel count.
        """
        check_images(images, self.metadata, takes_float=True)
        return self.run(self.model, images)

    def run(self, network: Callable[[Tensor], Tensor], images: NDArray[Any]) -> NDArray[np.float32]:
        """Run a part of the model instead of all of it; nothing is checked."""
        # torch warns of arrays that it may not write to, and rejects negative strides.
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        with torch.inference_mode(), _evaluating(self.model):
            found = network(self._normalize(pixels.to(self.device)))
            result: NDArray[np.float32] = found.float().contiguous().cpu().numpy()
        return result


def open_torch(bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> TorchRuntime:
    """Build a bundle's network, load its weights and fold its batch norms.

    Args:
        bundle: The model.
        device: "auto", "cpu", "cuda" ...
        threads: CPU threads; PyTorch has one setting for the whole process, which this changes.

    Raises:
        InputError: No such device, or the weights do not fit the metadata.
    """
    where = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    architecture = bundle.metadata.architecture
    variant = find_variant(architecture.name, where=f"{bundle.folder}: architecture.name")
    model = variant.build(
        architecture.num_classes,
        architecture.in_channels,
        architecture.options,
        where=f"{bundle.folder}: architecture.options",
    )
    load_weights(model, bundle.weights)
    return TorchRuntime(fuse(model), bundle.metadata, where)


def choose_device(device: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device of this machine.

    Raises:
        InputError: There is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device: '{device}' cannot be used here ({reason}); try 'auto'") from None


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and each back as it was (some may be frozen)."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
