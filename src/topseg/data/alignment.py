"""Alignment: which masks of a split do not lie on their images, judged by the split's own others.

A shifted mask is recognized on its own. That one does not follow its image is reported only where
most others do: soft or textured pictures have no edges to follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from topseg.data.contours import Fit
from topseg.data.layouts.pairs import Pair
from topseg.data.problem import Evidence, Problem

STRANGE: Final = 1.5
"""A mask whose place stands out less does not follow its image
(benchmarks/results/check_data.md)."""
FOLLOWS: Final = 4.0
"""Median of a split whose masks do follow their images."""
_LEAST: Final = 8
"""Masks that a median is made of."""


@dataclass
class Alignment:
    """The masks of a split that were compared with their images.

    Attributes:
        pairs: The pairs.
        fits: How their masks fit.
    """

    pairs: list[Pair] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)

    def add(self, pair: Pair, fit: Fit) -> None:
        """Add one mask."""
        self.pairs.append(pair)
        self.fits.append(fit)

    @property
    def usual(self) -> float | None:
        """The median of how far masks stand out at their own place; None of too few."""
        if len(self.fits) < _LEAST:
            return None
        return float(np.median([fit.here for fit in self.fits]))

    def problems(self) -> Iterator[Problem]:
        """Find the masks that are shifted, and those that do not follow their images."""
        usual = self.usual
        for pair, fit in zip(self.pairs, self.fits, strict=True):
            evidence = Evidence(pair.image, pair.mask, shift=fit.shift if fit.is_shifted else None)
            if fit.is_shifted:
                text = (
                    f"{pair.mask}: fits its image better {_words(fit.shift)} "
                    f"({fit.best:.1f} deviations above chance there, {fit.here:.1f} here)"
                )
                score = float(np.hypot(*fit.shift))
                yield Problem("shifted mask", text, False, score=score, evidence=evidence)
            elif usual is not None and usual >= FOLLOWS and fit.here < STRANGE:
                text = (
                    f"{pair.mask}: does not follow its image's edges ({fit.here:.1f} deviations "
                    f"above chance, here usually {usual:.1f}); is it of another image, or mirrored?"
                )
                kind = "mask beside its image"
                yield Problem(kind, text, False, score=fit.here, evidence=evidence)


def _words(shift: tuple[int, int]) -> str:
    """Return a shift in words, such as '6 pixels higher and 4 further left'."""
    down, right = shift
    ways = []
    if down:
        ways.append(f"{abs(down)} pixels {'lower' if down > 0 else 'higher'}")
    if right:
        side = f"further {'right' if right > 0 else 'left'}"
        ways.append(f"{abs(right)} {side}" if ways else f"{abs(right)} pixels {side}")
    return " and ".join(ways)
