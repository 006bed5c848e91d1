"""Binary masks: black where there is nothing, white (255, or 1) where there is something."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.data.annotations.masked import find_masked, mask_item, read_codes
from topseg.data.annotations.source import UNPAINTED, Options, Source, SourceFormat

FOREGROUND: Final = "foreground"
GREYS: Final = "pixels between black and white, taken by halves"


def open_source(source: Path, options: Options) -> Source:
    """Find the pairs of images and masks.

    Raises:
        InputError: There are none.
    """
    pairs, problems = find_masked(source, options.images)

    def read(path: Path) -> tuple[NDArray[np.uint16], dict[str, int]]:
        white, between = read_binary(path, options.nearest)
        numbers = np.where(white, 0, UNPAINTED).astype(np.uint16)
        return numbers, {GREYS: between} if between else {}

    return Source(
        (FOREGROUND,),
        tuple(mask_item(pair, read) for pair in pairs),
        palette=((255, 255, 255),),
        problems=tuple(problems),
    )


def read_binary(path: Path, lossy: bool = False) -> tuple[NDArray[np.bool_], int]:
    """Read a mask of black and white.

    Args:
        path: The file.
        lossy: Whether a JPEG will do.

    Returns:
        (H, W) what is white (from half on; 1 where there is nothing above it), and how many pixels
        are neither.

    Raises:
        InputError: It cannot be read, or holds colours.
    """
    codes = read_codes(path, lossy)
    grey = codes & 255
    if not lossy and (codes != grey * 0x010101).any():
        raise InputError(f"{path}: got colours, expected black and white; see --format colors")
    most = int(grey.max())
    if most <= 1:
        return grey == 1, 0
    return grey >= 128, int(((grey > 0) & (grey < 255)).sum())


FORMAT: Final = SourceFormat(
    name="binary",
    title="black and white (0/255, 0/1)",
    files="images and masks by name, as for `colors`",
    notes=f"white is `{FOREGROUND}`: `--rename {FOREGROUND}=NAME`; a grey between counts by halves",
    open=open_source,
)
