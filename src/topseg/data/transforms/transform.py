"""Transform: what every random change of a training sample keeps."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from topseg.data.sample import Sample

Rng = np.random.Generator


@runtime_checkable
class Transform(Protocol):
    """A frozen pydantic dataclass whose fields are its recipe entry, called with a sample.

    All that is random comes from ``rng``, so a sample can be replayed.
    """

    @property
    def name(self) -> str:
        """What the recipe calls it."""

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return a changed sample; the given one stays as it is."""
