"""Parts of a class against a flood fill by hand."""

from typing import Any

import numpy as np
import pytest

from topseg.media.parts import SIZES, count_hits, count_parts, find_parts, size_of


def by_hand(inside: Any) -> list[list[tuple[int, int]]]:
    """Connected parts with 8 neighbours."""
    left, found = set(zip(*map(np.ndarray.tolist, np.nonzero(inside)), strict=True)), []
    while left:
        part, edge = [], [left.pop()]
        while edge:
            row, column = edge.pop()
            part.append((row, column))
            for near in ((row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
        found.append(part)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_parts_and_hits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random((40, 50)) < 0.3).astype(np.uint8)
    mask[20:, 30:] = rng.random((20, 20)) < 0.1
    hits = rng.random(mask.shape) < 0.5
    count, parts, window = find_parts(mask, 1)
    expected = sorted((len(p), sum(bool(hits[at]) for at in p)) for p in by_hand(mask == 1))
    area, right = count_hits(parts, count, hits[window])
    assert sorted(zip(area.tolist(), right.tolist(), strict=True)) == expected
    assert count_parts(parts, count).tolist() == area.tolist()


def test_more_parts_than_16_bits_hold() -> None:
    mask = np.zeros((400, 400), np.uint8)
    mask[::2, ::2] = 1
    hits = np.zeros(mask.shape, np.bool_)
    hits[:, :200] = True
    count, parts, window = find_parts(mask, 1)
    assert count == 200 * 200 + 1
    area, right = count_hits(parts, count, hits[window])
    assert area.tolist() == [1] * 40000
    assert right.sum() == 20000
    large = np.zeros((800, 800), np.uint8)
    large[::2, ::2] = 1
    count, parts, _ = find_parts(large, 1)
    assert parts.dtype == np.int32
    assert count_parts(parts, count).sum() == count - 1 == 160000


def test_sizes_have_the_limits_of_coco() -> None:
    areas = np.array([1, 1023, 1024, 9215, 9216, 10**9])
    assert [list(SIZES)[i] for i in size_of(areas)] == [
        "small",
        "small",
        "medium",
        "medium",
        "large",
        "large",
    ]
