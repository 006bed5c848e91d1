"""JPEG 2000: the samples that a file holds, of any number of components and bits.

General image libraries take several components that are not named red, green and blue for grey,
and bring others to 8 or 16 bits; satellite images come so. imagecodecs gives the samples as they
are stored. Without it Pillow reads components of 8 bits, and stops where it cannot.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.core.installing import pip_install
from topseg.media.bounds import check_claim

_BOX: Final = b"\0\0\0\x0cjP  "
_CODESTREAM: Final = b"\xff\x4f\xff\x51"
_CODING_STYLE: Final = b"\xff\x52"
_CHANNELS: Final = b"cdef"
HEAD: Final = 65536
"""Bytes in which the codestream begins; colour profiles may come before it."""


@dataclass(frozen=True)
class Jpeg2000:
    """The image of a JPEG 2000 file.

    Attributes:
        samples: (H, W, S) as stored.
        bits: Bits of a sample.
        has_alpha: Whether a component is said to be alpha.
        lossy: Whether the samples were compressed with a loss.
    """

    samples: NDArray[Any]
    bits: int
    has_alpha: bool
    lossy: bool


@dataclass(frozen=True)
class _Header:
    """What the codestream begins with (ISO/IEC 15444-1, A.5.1).

    Attributes:
        shape: (H, W, S) of the samples.
        bits: Of a sample of each component.
        signed: Whether a component has values below 0.
        has_alpha: Whether channels are defined, as they are for alpha alone in practice.
    """

    shape: tuple[int, int, int]
    bits: tuple[int, ...]
    signed: bool
    has_alpha: bool


def is_jpeg2000(data: bytes) -> bool:
    """Return whether bytes begin as a JPEG 2000 file or codestream does."""
    return data.startswith((_BOX, _CODESTREAM))


def read_jpeg2000(data: bytes, name: str) -> Jpeg2000:
    """Read a JPEG 2000 file.

    Args:
        data: The file's content.
        name: What errors call it.

    Raises:
        InputError: Damaged, or it needs a package that is not there.
    """
    header = _read_header(data, name)
    claimed = math.prod(header.shape) * (1 if max(header.bits) <= 8 else 2)
    check_claim(name, header.shape[:2], header.shape[2], claimed, len(data))
    try:
        samples = np.atleast_3d(_decode(data, name, header))
    except InputError:
        raise
    except Exception as error:  # each library has errors of its own
        reason = str(error).partition("\n")[0]
        raise InputError(f"{name}: not readable as an image; damaged ({reason})") from None
    return Jpeg2000(samples, max(header.bits), header.has_alpha, is_lossy(data))


def read_jpeg2000_size(head: bytes, name: str) -> Size:
    """Return the (height, width) of a JPEG 2000 file, of which the first bytes are given.

    Raises:
        InputError: Damaged.
    """
    return _read_header(head, name).shape[:2]


def is_lossy(data: bytes) -> bool:
    """Return whether a file has the wavelet that rounds."""
    start = data.find(_CODESTREAM, 0, HEAD)
    style = data.find(_CODING_STYLE, start, start + HEAD)
    return start >= 0 and style >= 0 and data[style + 13 : style + 14] == b"\0"


def _decode(data: bytes, name: str, header: _Header) -> NDArray[Any]:
    if find_spec("imagecodecs") is not None:
        import imagecodecs

        return np.asarray(imagecodecs.jpeg2k_decode(data))
    if set(header.bits) != {8} or header.signed:
        raise InputError(
            f"{name}: JPEG 2000 of {max(header.bits)} bits needs another package; "
            f"{pip_install('topseg[tiff]')}"
        )
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as file:
        return np.asarray(file)


def _read_header(data: bytes, name: str) -> _Header:
    """Read the segments SIZ and COD."""
    start = data.find(_CODESTREAM, 0, HEAD)
    head = data[start + 4 :] if start >= 0 else b""
    count = int.from_bytes(head[36:38], "big")
    if not count or len(head) < 38 + 3 * count:
        raise InputError(f"{name}: not readable as an image; damaged JPEG 2000 file")
    width, height, left, top = (int.from_bytes(head[at : at + 4], "big") for at in (4, 8, 12, 16))
    depths = head[38 : 38 + 3 * count : 3]
    return _Header(
        shape=(max(0, height - top), max(0, width - left), count),
        bits=tuple((depth & 127) + 1 for depth in depths),
        signed=any(depth & 128 for depth in depths),
        has_alpha=_CHANNELS in data[:start],
    )
