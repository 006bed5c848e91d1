"""Closeness in units of what the values themselves spread over.

Two correct programs differ by rounding, which grows with the size of the values and the number of
steps, not with a digit that someone chose: another processor takes other vector widths, sums in
another order, fuses a product with a sum or does not. So a bound is a share of the expected values'
standard deviation, some ten times what the arithmetic has been seen to leave.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def assert_within(found: ArrayLike, expected: ArrayLike, share: float, name: Any = "") -> None:
    """Check that no value is further off than a share of the expected values' spread."""
    ours, theirs = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert ours.shape == theirs.shape, name
    spread = theirs.std()
    assert spread > 0, f"{name}: values without a spread bound nothing"
    worst = np.abs(ours - theirs).max() / spread
    assert worst <= share, f"{name}: {worst:.1e} of the spread {spread:.2e}, allowed {share:.1e}"
