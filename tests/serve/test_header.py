"""What image files say of themselves."""

import io

import numpy as np
import pytest
from PIL import Image

from topseg.core.errors import InputError
from topseg.serve.header import check_header
from topseg.serve.refusal import Refusal


def encode(kind: str, size: tuple[int, int] = (35, 61), **options: object) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = 6
    return found


FILES = {
    "jpeg": encode("JPEG"),
    "progressive": encode("JPEG", progressive=True),
    "jpeg with exif": encode("JPEG", exif=exif(), comment=b"\xff\xc0" * 99),
    "png": encode("PNG"),
    "webp": encode("WEBP"),
    "lossless webp": encode("WEBP", lossless=True),
    "extended webp": encode("WEBP", exif=exif()),
}


@pytest.mark.parametrize("name", FILES)
def test_size_is_read(name: str) -> None:
    assert check_header(FILES[name], 35 * 61) == (35, 61)
    with pytest.raises(Refusal, match="35x61") as refused:
        check_header(FILES[name], 35 * 61 - 1)
    assert refused.value.status == 413


@pytest.mark.parametrize("name", FILES)
def test_cut_files_are_refused_or_have_their_size(name: str) -> None:
    for length in range(min(len(FILES[name]), 1200)):
        try:
            size = check_header(FILES[name][:length], 10**9)
        except (InputError, Refusal):
            continue
        assert size[0] * size[1] > 0


@pytest.mark.parametrize("data", [b"", b"BM\x00", b"GIF89a....", b"II*\0....", b"<svg>", b"RIFF"])
def test_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(Refusal, match="neither JPEG") as refused:
        check_header(data, 100)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xe0\x00\x04ab",  # no frame
        b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x05",  # no height
        b"\x89PNG\r\n\x1a\n\0\0\0\rtEXt",
        b"RIFF....WEBPVP8 " + bytes(20),
    ],
)
def test_damaged_headers(data: bytes) -> None:
    with pytest.raises(InputError, match="damaged"):
        check_header(data, 100)
