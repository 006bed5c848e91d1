"""Tail: stride-8 logits become a mask of any size, exactly as full bilinear interpolation would.

A bilinear value is a convex combination of the four samples around it. So within a cell, the pixels
between four samples, a class can win only if its largest corner reaches the highest of all classes'
smallest corners; these candidates alone are interpolated, and the (K, H, W) tensor is never built.
Rounding included, pruning does not change the mask (see ``_bilinear``). The compiled extension
(``native/topseg/tail.hpp``) and the NumPy code below give the same mask, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError, did_you_mean
from topseg.core.geometry import Size
from topseg.core.labels import Mask

try:
    from topseg import _native
except ImportError:  # there was no compiler at installation
    _native = None  # type: ignore[assignment]

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

_LIMIT = np.float32(1e38)  # twice this is still finite
_INWARD = np.float32(1 - 2**-23)


def implementations() -> tuple[str, ...]:
    """Name the implementations on this machine, the one in use first.

    Returns:
        Some of "avx2", "neon" and "portable" (compiled) and always "numpy".
    """
    return (*(_native.paths() if _native else ()), "numpy")


def upsample_argmax(
    logits: Floats, size: Size, threads: int = 1, *, implementation: str | None = None
) -> Mask:
    """Interpolate logits bilinearly (``align_corners=False``) and return each pixel's best class.

    The mask equals that of PyTorch's ``interpolate`` and ``argmax`` except where the two best
    classes differ by less than 1e-5 times the largest corner (or 1, if that is larger). Logits
    beyond +-1e38, infinities included, count as +-1e38, and NaN as -1e38.

    Args:
        logits: (K, h, w) or (B, K, h, w) float32.
        size: (height, width) of the mask, larger or smaller than the logits.
        threads: CPU threads that may be used; the mask does not depend on it.
        implementation: One of ``implementations()``; the default is the first.

    Returns:
        (H, W) or (B, H, W) class indices, the lower one where two are equal; uint8, or uint16
        above 255 classes.

    Raises:
        InputError: Another shape or type, or an empty size.
    """
    return _upsample(logits, size, threads, implementation, probable=False)[0]


def upsample_argmax_probability(
    logits: Floats, size: Size, threads: int = 1, *, implementation: str | None = None
) -> tuple[Mask, Floats]:
    """Return the best class of each pixel, as ``upsample_argmax`` does, and its probability.

    The probability costs several times the mask: all classes that are not far below the best take
    part in its denominator.

    Args:
        logits: (K, h, w) or (B, K, h, w) float32.
        size: (height, width) of the mask, larger or smaller than the logits.
        threads: CPU threads that may be used; the result does not depend on it.
        implementation: One of ``implementations()``; the default is the first.

    Returns:
        The mask, and (H, W) or (B, H, W) float32: the softmax of the interpolated logits at the
        mask's class, within 1e-4.

    Raises:
        InputError: Another shape or type, or an empty size.
    """
    return _upsample(logits, size, threads, implementation, probable=True)


def _upsample(
    logits: Floats, size: Size, threads: int, implementation: str | None, *, probable: bool
) -> tuple[Mask, Floats]:
    """Check the arguments and run; without ``probable`` the second array is empty."""
    if logits.ndim not in (3, 4) or logits.dtype != np.float32 or 0 in logits.shape:
        raise InputError(
            f"logits: got {logits.dtype} {logits.shape}, expected float32 (K, h, w) or (B, K, h, w)"
        )
    *batch, classes, height, width = logits.shape
    if classes > 65535:
        raise InputError(f"logits: got {classes} classes, expected at most 65535")
    if min(size) < 1:
        raise InputError(f"size: got {size}, expected (height, width) of at least one pixel")
    implementation = implementation or implementations()[0]
    if implementation not in implementations():
        raise InputError(
            f"implementation: got '{implementation}', expected one of "
            f"{', '.join(implementations())}{did_you_mean(implementation, implementations())}"
        )
    mask: Mask = np.empty((*batch, *size), np.uint8 if classes <= 255 else np.uint16)
    probability = np.empty(mask.shape if probable else 0, np.float32)
    if implementation == "numpy":
        for index in np.ndindex(*batch):
            _fill(logits[index], mask[index], probability[index] if probable else None)
    else:
        shape = (batch[0] if batch else 1, classes, height, width)
        _native.upsample_argmax(
            np.ascontiguousarray(logits),
            shape,
            mask,
            size,
            probability if probable else None,
            threads,
            implementation,
        )
    return mask, probability


@dataclass(frozen=True)
class _Axis:
    """Where the pixels of one axis lie among its samples.

    Source = (pixel + 0.5) * scale - 0.5. PyTorch has scale in float32 and rounds source once;
    float64 does the same here, being exact for a product of two float32. Cell i lies between
    samples i - 1 and i; samples beyond the border repeat the outermost.
    """

    cell: Ints
    """(pixels,) the cell a pixel is in."""
    place: Ints
    """(pixels,) its number within the cell."""
    weight: Floats
    """(cells, places) position between the cell's two samples, 0 to 1."""

    @classmethod
    def of(cls, samples: int, pixels: int) -> _Axis:
        scale = np.float64(np.float32(samples) / np.float32(pixels))
        source = (scale * (np.arange(pixels) + 0.5) - 0.5).astype(np.float32)
        below = np.minimum(np.floor(source), np.float32(samples - 1))
        cell = below.astype(np.intp) + 1
        place = np.arange(pixels) - np.searchsorted(cell, cell)
        weight = np.zeros((samples + 1, place.max() + 1), np.float32)
        weight[cell, place] = source - below
        return cls(cell, place, weight)


def _fill(logits: Floats, mask: Mask, probability: Floats | None) -> None:
    """Write the mask (H, W) of one image's logits (K, h, w), and the probability if there is one.

    All cells are treated at once: in step r every cell that has an r-th candidate compares it, so
    that there are as many steps as the fullest cell has candidates.
    """
    # Each cell's candidates, by the corners of all classes.
    classes, height, width = logits.shape
    rows, columns = _Axis.of(height, mask.shape[0]), _Axis.of(width, mask.shape[1])
    clamped = np.fmin(np.fmax(logits, -_LIMIT), _LIMIT)  # fmax drops NaN
    samples = np.pad(clamped, ((0, 0), (1, 1), (1, 1)), "edge")  # (K, h + 2, w + 2)
    corners = [samples[:, y : y + height + 1, x : x + width + 1] for y in (0, 1) for x in (0, 1)]
    low = np.minimum(np.minimum(*corners[:2]), np.minimum(*corners[2:]))  # (K, h + 1, w + 1)
    high = np.maximum(np.maximum(*corners[:2]), np.maximum(*corners[2:]))
    # A class this far below the best adds less than exp(-12) / K to the probability's denominator.
    margin = np.float32(0 if probability is None else 12 + np.log(classes))
    candidate = high >= low.max(axis=0) - margin
    count = candidate.sum(axis=0)  # (h + 1, w + 1)

    # One candidate fills its cell; the cells with several are listed, the fullest first.
    tiles = np.empty((*count.shape, rows.weight.shape[1], columns.weight.shape[1]), mask.dtype)
    tiles[...] = candidate.argmax(axis=0)[..., None, None]  # as if it were the only one
    y, x = np.nonzero(count > 1)
    order = np.argsort(-count[y, x], kind="stable")  # the cells with an r-th candidate come first
    y, x = y[order], x[order]
    counts = count[y, x]
    _, lists = np.nonzero(candidate[:, y, x].T)  # ascending classes, cell after cell
    starts = np.cumsum(counts) - counts

    def value_of(rank: int) -> tuple[Ints, Floats]:
        """Interpolate the candidate of that rank in the first cells, as many as have one."""
        n = np.searchsorted(-counts, -rank)
        k, i, j = lists[starts[:n] + rank], y[:n], x[:n]
        square = [[samples[k, i + dy, j + dx][:, None] for dx in (0, 1)] for dy in (0, 1)]
        left, right = (_bilinear(square[0][s], square[1][s], rows.weight[i]) for s in (0, 1))
        return k, _bilinear(left[:, :, None], right[:, :, None], columns.weight[j][:, None, :])

    # The best of the candidates at each pixel, rank after rank.
    if len(counts):
        k, best = value_of(0)
        winner = np.empty(best.shape, mask.dtype)
        winner[...] = k[:, None, None]
        for rank in range(1, counts[0]):
            k, value = value_of(rank)
            better = value > best[: len(k)]  # of equals the lower class, which came before
            np.copyto(best[: len(k)], value, where=better)
            np.copyto(winner[: len(k)], k[:, None, None].astype(mask.dtype), where=better)
        tiles[y, x] = winner
    spot = (rows.cell[:, None], columns.cell, rows.place[:, None], columns.place)
    mask[...] = tiles[spot]
    if probability is None:
        return
    # The softmax of the winner: 1 over the sum of all candidates' exponentials.
    chances = np.ones(tiles.shape, np.float32)
    if len(counts):
        total = np.zeros(best.shape)  # float64: very many small terms add up
        for rank in range(counts[0]):
            k, value = value_of(rank)
            total[: len(k)] += np.exp(value - best[: len(k)])
        chances[y, x] = 1 / total
    probability[...] = chances[spot]


def _bilinear(low: Floats, high: Floats, weight: Floats) -> Floats:
    """Interpolate without leaving [low, high]: this is what makes pruning exact.

    Each rounding (of the difference, of the product) may enlarge the step by one part in 2^24, so
    it is first made smaller by two.
    """
    return low + weight * ((high - low) * _INWARD)
