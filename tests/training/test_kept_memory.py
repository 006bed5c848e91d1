"""Freed memory is found again without a page fault."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from topseg.training.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(8)))  # the heap may grow once more in between
"""


def fewest_faults(keep: bool) -> int:
    run = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_a_large_tensor_takes_the_pages_of_the_one_before() -> None:
    assert fewest_faults(keep=True) < 20
    assert fewest_faults(keep=False) > 20
