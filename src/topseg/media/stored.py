"""Stored: files whose rows are not those of the image, so that they cannot be read one by one."""

from __future__ import annotations

from pathlib import Path

from topseg.core.errors import InputError
from topseg.media.images import read_orientation
from topseg.media.netpbm import largest_value
from topseg.media.tiff import check_tiff


def check_stored(path: Path, driver: str) -> None:
    """Check that a file's rows are the image's own, with their values.

    Args:
        path: The file.
        driver: GDAL's name of its format.

    Raises:
        InputError: It is to be turned, holds no colours, holds a preview first, or its few bits are
            to be spread.
    """
    if driver in ("GTiff", "COG"):
        check_tiff(path)
    if driver == "PNM":
        with path.open("rb") as file:
            largest = largest_value(file.read(1024))
        if largest not in (255, 65535):
            raise InputError(
                f"{path}: its values go up to {largest}, expected 255 or 65535; save it as PNG"
            )
    if driver == "BMP":
        with path.open("rb") as file:
            bits = file.read(30)[28:]
        if bits == b"\x10\0":
            raise InputError(f"{path}: got a BMP of 16 bits per pixel; save it as PNG")
    turn = read_orientation(path)
    if turn != 1:
        raise InputError(
            f"{path}: is to be shown turned (EXIF orientation {turn}), which rows of a file cannot "
            "be; turn the image itself first"
        )
