"""Commands run in the test's own process; what they set for it does not reach other tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Restore torch's number of threads, on which a training's last bits depend."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
