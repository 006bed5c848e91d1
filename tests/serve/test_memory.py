"""What requests hold, all together."""

import pytest

from topseg.serve.memory import Memory, Share
from topseg.serve.refusal import Refusal


def test_shares_are_bounded_together_and_given_back() -> None:
    memory = Memory(100)
    one, other = Share(memory), Share(memory)
    one.take(60)
    other.take(40)
    with pytest.raises(Refusal, match="hold the memory") as refused:
        other.take(1)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    other.close()
    other.close()
    assert memory.held == 60
    Share(memory).take(40)
