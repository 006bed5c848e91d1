"""Bootstrap: how far a score would move if other images had been drawn.

Images are drawn again with replacement, as many as there are, and the score is made anew from the
sums of their counts (Efron 1979, https://doi.org/10.1214/aos/1176344552). The interval's ends are
percentiles, further out than the level alone says: drawn images vary less than images do, by
(n - 1) / n, and few of them do not tell how much, which Student's t allows for (expanded
percentiles, Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789, 4.2). Two models are
compared on the same draws, so that what is hard for both does not widen the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.evaluation.images import Counts, miou

Score = Callable[[NDArray[Any]], NDArray[np.float64]]
"""From (..., 3, K) counts to (...) or (..., K) scores."""

DRAWS = 2000
_AT_ONCE = 200


@dataclass(frozen=True)
class Interval:
    """A value and the interval that it lies in by the draws.

    Attributes:
        value: Of all images; a number, or one for each class.
        low: The lower end.
        high: The upper end.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def interval(
    counts: Counts, score: Score = miou, *, level: float = 0.95, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Return a score and its interval.

    Args:
        counts: (images, 3, K), as ``PerImage`` keeps them.
        score: Makes the score of summed counts.
        level: Share of such intervals that hold the true value.
        seed: Of the draws.
        draws: How many.
    """
    found = np.concatenate([score(sums) for sums in _sums([counts], seed, draws)[0]])
    return _ends(score(counts.sum(axis=0)), found, expanded(level, len(counts)))


def paired_interval(
    a: Counts,
    b: Counts,
    score: Score = miou,
    *,
    level: float = 0.95,
    seed: int = 0,
    draws: int = DRAWS,
) -> Interval:
    """Return the difference ``b - a`` of two models' scores on the same images.

    Args:
        a: (images, 3, K) of the first model.
        b: The same of the second.
        score: Makes the score of summed counts.
        level: Share of such intervals that hold the true value.
        seed: Of the draws.
        draws: How many.
    """
    first, second = _sums([a, b], seed, draws)
    found = np.concatenate([score(y) - score(x) for x, y in zip(first, second, strict=True)])
    return _ends(score(b.sum(axis=0)) - score(a.sum(axis=0)), found, expanded(level, len(a)))


def expanded(level: float, images: int) -> float:
    """Return the share of the draws that an interval of a level takes in for so many images."""
    if images < 2:
        return 1.0
    freedom = images - 1
    z = NormalDist().inv_cdf((1 + level) / 2)
    # Student's t of as many degrees of freedom (Abramowitz and Stegun 1964, 26.7.5).
    t = z + (z**3 + z) / (4 * freedom)
    t += (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return 2 * NormalDist().cdf(t * (images / freedom) ** 0.5) - 1


def _sums(parts: list[Counts], seed: int, draws: int) -> list[list[NDArray[np.float64]]]:
    """Return for each part the summed counts of the same draws, in blocks (n, 3, K)."""
    images = len(parts[0])
    rng = np.random.default_rng(seed)
    flat = [part.reshape(images, -1).astype(np.float64) for part in parts]  # exact up to 2^53
    out: list[list[NDArray[np.float64]]] = [[] for _ in parts]
    for start in range(0, draws, _AT_ONCE):
        count = min(_AT_ONCE, draws - start)
        weights = rng.multinomial(images, np.full(images, 1 / images), count).astype(np.float64)
        for sums, values, part in zip(out, flat, parts, strict=True):
            sums.append((weights @ values).reshape(count, *part.shape[1:]))
    return out


def _ends(value: Any, found: NDArray[np.float64], level: float) -> Interval:
    """Return the percentiles of the draws that have the score at all."""
    tails = [50 * (1 - level), 50 * (1 + level)]
    flat = found.reshape(len(found), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    for column, values in enumerate(flat.T):
        if (seen := values[~np.isnan(values)]).size:
            ends[:, column] = np.percentile(seen, tails)
    low, high = ends.reshape(2, *found.shape[1:])
    return Interval(np.asarray(value), low, high)
