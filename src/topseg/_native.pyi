"""The compiled resize, tail and lean loss; native/binding.cpp is its source."""

from typing import Any

from numpy.typing import NDArray

def paths() -> tuple[str, ...]: ...
def resize_image(
    image: NDArray[Any], shape: tuple[int, ...], out: NDArray[Any], size: tuple[int, int], /
) -> None: ...
def upsample_argmax(
    logits: NDArray[Any],
    shape: tuple[int, int, int, int],
    mask: NDArray[Any],
    size: tuple[int, int],
    probability: NDArray[Any] | None,
    threads: int,
    path: str,
    /,
) -> None: ...
def cross_entropy(
    logits: NDArray[Any],
    gradient: NDArray[Any] | None,
    shape: tuple[int, int, int, int],
    channels_last: bool,
    target: NDArray[Any],
    size: tuple[int, int],
    ignore_index: int,
    class_weights: NDArray[Any] | None,
    label_smoothing: float,
    pixel_loss: NDArray[Any] | None,
    threads: int,
    path: str,
    /,
) -> tuple[float, float, bool]: ...
def model_paths() -> list[str]: ...
def open_model(metadata: str, weights: bytes, where: str, path: str, /) -> object: ...
def model_logits(
    model: object,
    images: NDArray[Any],
    size: tuple[int, int, int],
    floats: bool,
    logits: NDArray[Any],
    threads: int,
    laps: list[tuple[str, float]] | None,
    /,
) -> None: ...
