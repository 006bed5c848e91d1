"""Distributed: several processes that train one model as if they were one.

Started by ``torchrun``. The processes exchange plain sums (counts, gradients, statistics), so what
is divided by what stays visible in the trainer. The whole gradient travels as one vector: with a
few million numbers there is little to gain from sending it piece by piece during the backward pass.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from topseg.core.errors import InputError
from topseg.runtimes.torch import choose_device

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """All processes of a run, seen from one of them.

    Attributes:
        rank: This process, counted from 0.
        size: How many there are.
        device: Where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over the processes, in place."""
        if self.size > 1:
            with _exchange():
                dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self.size == 1:
            return flag
        return bool(self.add(torch.tensor(int(flag), device=self.device)).item())

    def add_all(self, tensors: Sequence[Tensor]) -> None:
        """Add float32 tensors up over the processes, in place, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = self.add(torch.cat([tensor.flatten() for tensor in tensors]))
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view(tensor.shape))

    def average_statistics(self, model: nn.Module) -> None:
        """Replace the batch-norm statistics of all processes by their mean."""
        if self.size == 1:
            return
        statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.add_all(statistics)
        torch._foreach_div_(statistics, self.size)

    def gather(self, value: T) -> list[T]:
        """Gather the values of every process, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _exchange():
            dist.all_gather_object(values, value)
        return values

    def first(self, act: Callable[[], T]) -> T:
        """Act in the first process alone; all get its result, or raise its error."""
        outcome: list[Any] = [None]
        if self.main:
            try:
                outcome = [act()]
            except InputError as error:
                outcome = [error]
        if self.size > 1:
            with _exchange():
                dist.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[0], InputError):
            raise outcome[0]
        result: T = outcome[0]
        return result


@contextlib.contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the other processes of the run, as ``torchrun`` announces them in the environment.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: There is no such device, or fewer GPUs than processes on this machine.
    """
    rank, size, local = (int(os.environ.get(k, d)) for k, d in _TORCHRUN.items())
    place = choose_device(device)
    if place.type == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError(
                f"torchrun --nproc-per-node: got more than {torch.cuda.device_count()}, "
                "expected at most one process a GPU of this machine"
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    if size == 1:
        yield World(0, 1, place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(rank, size, place)
    finally:
        dist.destroy_process_group()


_TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Turn the failure of an exchange into an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            "torchrun: another process of this run is gone, see what it printed last "
            f"({reason}); checkpoints are whole: mend the cause and go on with --resume"
        ) from error
