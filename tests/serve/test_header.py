"""What image files say of themselves."""

import io
import zlib

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


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def test_images_that_would_keep_a_decoder_busy() -> None:
    jpeg, png = FILES["progressive"], FILES["png"]
    at = jpeg.index(b"\xff\xda")
    scan = jpeg[at : jpeg.index(b"\xff", at + 30)]
    bombs = {
        "many scans": jpeg[:-2] + scan * 100 + jpeg[-2:],
        "of many scans": jpeg[:-2] + b"\xff\x01" + scan * 100 + jpeg[-2:],  # TEM has no length
        "many segments": jpeg[:2] + b"\xff\xfe\0\2" * 2000 + jpeg[2:],
        "many compressed texts": png[:33] + chunk(b"zTXt") * 9 + chunk(b"iTXt") * 8 + png[33:],
        "many chunks": png[:33] + chunk(b"tEXt") * 20_000 + png[33:],
    }
    for what, data in bombs.items():
        with pytest.raises(Refusal, match=what) as refused:
            check_header(data, 10**6)
        assert refused.value.status == 413
    few = {
        "scans": jpeg[:-2] + scan * 60 + jpeg[-2:],
        "segments": jpeg[:2] + b"\xff\xfe\0\2" * 1900 + jpeg[2:],
        "texts": png[:33] + chunk(b"zTXt") * 8 + chunk(b"iTXt") * 8 + png[33:],
        "chunks": png[:33] + chunk(b"tEXt") * 19_000 + png[33:],
        "scans of a thumbnail": jpeg[:2] + b"\xff\xe1\x03\x22" + b"\xff\xda\0\2" * 200 + jpeg[2:],
        "scans after the end": jpeg + scan * 200,
    }
    for data in few.values():
        assert check_header(data, 10**6) == (35, 61)
