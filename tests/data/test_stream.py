"""The stream: epochs that are permutations, the same from any step on."""

import pytest

from topseg.core.errors import InputError
from topseg.data.stream import batch_at, draw_at, share


@pytest.mark.parametrize(("n", "batch_size"), [(10, 5), (10, 4), (3, 8), (1, 2)])
def test_epochs_are_permutations(n: int, batch_size: int) -> None:
    steps = 6 * n // batch_size + 1
    stream = [draw for step in range(steps) for draw in batch_at(7, step, batch_size, n)]
    indices = [index for index, _ in stream]
    for epoch in range(len(indices) // n):
        assert sorted(indices[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert len({seed for _, seed in stream}) == len(stream)


def test_order_differs_between_epochs_and_seeds() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [index for index, _ in batch_at(seed, epoch, 100, 100)]

    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert draw_at(0, 5, 100)[1] != draw_at(1, 5, 100)[1]


def test_any_step_can_be_the_first() -> None:
    late = batch_at(3, 123_456_789, 16, 20_210)
    batch_at(3, 0, 16, 20_210)
    assert batch_at(3, 123_456_789, 16, 20_210) == late


def test_the_stream_is_what_it_was() -> None:
    """A change of these numbers breaks the resumption of every run."""
    assert batch_at(0, 0, 3, 10) == [
        (4, 8649202198168436674),
        (6, 3108398236813484367),
        (2, 14406252260519237621),
    ]
    assert batch_at(2**63 - 1, 10**9, 2, 367) == [
        (120, 12304239005732710818),
        (45, 1380850491739166736),
    ]


def test_shares_make_up_the_batch() -> None:
    batch = list(range(24))
    shares = [share(batch, rank, 3, part, 2) for part in range(2) for rank in range(3)]
    assert [len(one) for one in shares] == [4] * 6
    assert [draw for one in shares for draw in one] == batch
    assert share(batch, 0, 1) == batch
    with pytest.raises(InputError, match=r"batch_size: got 24, expected a multiple of 10 \(5 pro"):
        share(batch, 0, 5, 0, 2)
