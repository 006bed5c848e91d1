"""Histograms against NumPy's."""

from typing import Any

import numpy as np
import pytest

from topseg.media import histogram
from topseg.media.histogram import count_tuples, count_values, sum_values


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("exact", [2**24, 100])
def test_counts_are_numpy_s(kind: Any, exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histogram, "_EXACT", exact)  # in bands of rows
    rng = np.random.default_rng(0)
    high = int(np.iinfo(kind).max)
    values = rng.choice(np.array([0, 1, 2, 7, 8, 9, high], kind), (60, 33))
    others = rng.integers(0, 6, (60, 33)).astype(kind)
    where = rng.random(values.shape) < 0.4
    expected = np.bincount(values.ravel(), minlength=9)[:9]
    np.testing.assert_array_equal(count_values(values, 9), expected)
    np.testing.assert_array_equal(
        count_values(values, 9, where), np.bincount(values[where], minlength=9)[:9]
    )
    for places in (where, np.ones_like(where)):
        pairs = np.zeros((9, 6), np.int64)
        inside = places & (values < 9)
        np.add.at(pairs, (values[inside], others[inside]), 1)
        np.testing.assert_array_equal(count_tuples((values, others), (9, 6), places), pairs)
    np.testing.assert_array_equal(count_tuples((values, others), (9, 6)), pairs)
    thirds = (values > 1).astype(kind)
    found = count_tuples((values, others, thirds), (9, 6, 2), where)
    np.testing.assert_array_equal(found.sum(axis=2), count_tuples((values, others), (9, 6), where))
    np.testing.assert_array_equal(
        found[..., 1], count_tuples((values, others), (9, 6), where & (thirds == 1))
    )


def test_many_pixels_of_one_value() -> None:
    """More than float32 counts one by one."""
    values = np.zeros((4100, 4100), np.uint8)
    assert count_values(values, 2).tolist() == [4100 * 4100, 0]


@pytest.mark.parametrize("bins", [16, 200, 8191])
def test_sums_of_weights(bins: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, bins, (30, 77)).astype(np.uint8 if bins <= 256 else np.uint16)
    weights = rng.random((30, 77), np.float32)
    expected = np.bincount(values.ravel(), weights.ravel(), bins)
    np.testing.assert_allclose(sum_values(values, weights, bins), expected, rtol=1e-12)
