"""The compiled tail; native/binding.cpp is its source."""

from typing import Any

from numpy.typing import NDArray

def paths() -> tuple[str, ...]: ...
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
