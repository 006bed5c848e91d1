"""Samples: a few drawn scenes as files, for whoever wants a picture and draws nothing.

``python -m topseg.synthetic.samples`` draws them anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

SCENES: Final = ((0, 0), (11, 1), (11, 6), (11, 9), (11, 7))
"""(seed, index) of each scene."""

SAMPLES: Final = tuple(Path(__file__).with_name(f"{seed}_{index}.jpg") for seed, index in SCENES)
"""Their JPEG files, in the same order."""
