"""Palette: colours for classes that have none, told apart by colour-blind people as well.

The first seven are those of Okabe and Ito (Color Universal Design, https://jfly.uni-koeln.de/color);
black, which stands for no class, is left out. Each further one is, of a grid of colours neither
dark, pale nor grey, the farthest from all before it: the Euclidean distance in CIELAB, the smallest
of what normal, protanope and deuteranope eyes see (Machado, Oliveira, Fernandes 2009,
https://doi.org/10.1109/TVCG.2009.113, severity 1). A class's colour does not depend on how many
follow it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FIRST = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_LARGEST = 255
"""Up to so many classes; a mask with more is 16-bit grey, and such colours are told by no eye."""
_LEVELS = 17
"""Of each channel of the grid."""
_LIGHTNESS = (25.0, 92.0)
_CHROMA = 20.0

VISIONS = {
    "normal": np.eye(3),
    "protanope": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranope": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
"""Kind of eye -> (3, 3) from linear RGB to the linear RGB that looks the same to normal eyes."""

_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""Linear sRGB to CIE XYZ under D65 (IEC 61966-2-1)."""


@functools.cache
def default_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return (red, green, blue) for each of so many classes, all different and none black."""
    colors: list[tuple[int, int, int]] = list(_FIRST[:count])
    if count > len(colors):
        colors += _farthest(colors, min(count, _LARGEST) - len(colors))
    used, number = set(colors), 0
    while len(colors) < count:
        number += 1
        if (color := _spread_bits(number)) not in used:
            colors.append(color)
    return tuple(colors)


def seen_colors(colors: Any) -> Floats:
    """Return colours as each kind of eye sees them.

    Args:
        colors: (N, 3) 0..255 RGB.

    Returns:
        (visions, N, 3) CIELAB, D65.
    """
    values = np.asarray(colors, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.stack([linear @ matrix.T for matrix in VISIONS.values()])
    ratios = seen.clip(0, 1) @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    curve = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(curve, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _farthest(taken: list[tuple[int, int, int]], count: int) -> list[tuple[int, int, int]]:
    """Choose colours one by one, each the farthest from black and from all before it."""
    levels = np.linspace(0, 255, _LEVELS).round().astype(int)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = seen_colors(grid)[0].T
    low, high = _LIGHTNESS
    grid = grid[(low <= lightness) & (lightness <= high) & (np.hypot(a, b) >= _CHROMA)]
    seen = seen_colors(grid)
    distance = np.full(len(grid), np.inf)
    for before in seen_colors([(0, 0, 0), *taken]).swapaxes(0, 1):
        distance = np.minimum(distance, _apart(seen, before))
    found = []
    for _ in range(count):
        best = int(distance.argmax())
        found.append((int(grid[best, 0]), int(grid[best, 1]), int(grid[best, 2])))
        distance = np.minimum(distance, _apart(seen, seen[:, best]))
    return found


def _apart(seen: Floats, one: Floats) -> Floats:
    """Return the distance of each colour (visions, N, 3) from one, by the worst eye."""
    distances: Floats = np.linalg.norm(seen - one[:, None], axis=-1).min(axis=0)
    return distances


def _spread_bits(number: int) -> tuple[int, int, int]:
    """Return Pascal VOC's colour of a number.

    Bits 0, 3, 6 ... of the number become the high bits of red, bits 1, 4, 7 those of green, bits
    2, 5, 8 those of blue.
    """
    channels = [0, 0, 0]
    for shift in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * shift + channel) & 1) << (7 - shift)
    return channels[0], channels[1], channels[2]
