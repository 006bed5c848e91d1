"""COCO's run lengths, plain and compressed."""

import numpy as np
import pytest

from topseg.data.annotations.rle import RunLengths, decode_counts
from topseg.data.annotations.shapes import ShapeError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools


def test_compressed_runs_equal_cocos_own() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for case in range(200):
        size = tuple(rng.integers(1, 90, 2).tolist())
        mask = rng.random(size) < rng.choice([0.0, 0.01, 0.5, 0.99, 1.0])
        if case % 2:  # long runs need more groups
            mask = np.kron(mask, np.ones((20, 20), np.bool_)).astype(np.bool_)
        runs = coco.encode(np.asfortranarray(mask, np.uint8))
        shape = RunLengths(decode_counts(runs["counts"].decode()), mask.shape)
        canvas = np.zeros(mask.shape, np.bool_)
        shape.cover(mask.shape).fill(canvas, True)
        np.testing.assert_array_equal(canvas, mask)


def test_plain_runs_go_down_the_columns() -> None:
    patch = RunLengths(np.array([1, 3, 2]), (2, 3)).cover((2, 3))
    canvas = np.zeros((2, 3), np.bool_)
    patch.fill(canvas, True)
    np.testing.assert_array_equal(canvas, [[False, True, False], [True, True, False]])


@pytest.mark.parametrize("text", ["\x01", "é", "o", "ooooooooooooo0", "q0"])
def test_broken_text(text: str) -> None:
    with pytest.raises(ShapeError, match="cannot be read"):
        decode_counts(text)


@pytest.mark.parametrize("counts", [[], [5], [7], [-1, 7], [2**62, 2**62, 2**62, 2**62, 6]])
def test_runs_that_do_not_fill(counts: list[int]) -> None:
    with pytest.raises(ShapeError, match="do not fill"):
        RunLengths(np.array(counts, np.int64), (2, 3)).cover((2, 3))


def test_runs_of_another_size() -> None:
    with pytest.raises(ShapeError, match="another size"):
        RunLengths(np.array([6]), (3, 2)).cover((2, 3))
