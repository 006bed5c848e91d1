"""Packed bodies and forms."""

import gzip
import zlib

import pytest

from topseg.core.errors import InputError
from topseg.serve.http.bodies import find_image, unpack
from topseg.serve.refusal import Refusal

DATA = bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(DATA)),
        ("deflate", zlib.compress(DATA)),
        ("", DATA),
        ("identity", DATA),
    ],
)
def test_bodies_are_unpacked(encoding: str, packed: bytes) -> None:
    assert unpack(packed, encoding, len(DATA)) == DATA


def test_bombs_are_not_unpacked() -> None:
    with pytest.raises(Refusal, match="at most 1000 bytes") as refused:
        unpack(gzip.compress(bytes(10**7)), "gzip", 1000)
    assert refused.value.status == 413


def test_what_cannot_be_unpacked() -> None:
    with pytest.raises(InputError, match="damaged"):
        unpack(b"no", "gzip", 100)
    with pytest.raises(InputError, match="truncated"):
        unpack(gzip.compress(DATA)[:-9], "gzip", 10**6)
    with pytest.raises(Refusal, match="expected gzip, deflate or none") as refused:
        unpack(DATA, "br", 100)
    assert refused.value.status == 415


def form(*parts: bytes, boundary: bytes = b"xyz") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + (
        b"--" + boundary + b"--\r\n"
    )


FIELD = b'Content-Disposition: form-data; name="model"\r\n\r\ntiny'
FILE = (
    b'Content-Disposition: form-data; name="x"; filename="a.png"\r\nContent-Type: y\r\n\r\n' + DATA
)
NAMED = b"Content-Disposition: form-data; name=image\r\n\r\n" + DATA


@pytest.mark.parametrize("parts", [(FILE,), (FIELD, FILE), (FIELD, NAMED), (NAMED, FIELD)])
@pytest.mark.parametrize("header", ["boundary=xyz", 'charset=utf-8; boundary="xyz"'])
def test_file_of_a_form(parts: tuple[bytes, ...], header: str) -> None:
    assert find_image(form(*parts), f"multipart/form-data; {header}") == DATA


NO_NAME = b"Content-Disposition: form-data; name=file\r\n\r\n" + DATA[:9]
OTHER = b'Content-Disposition: form-data; name="y"; filename=b\r\n\r\n' + DATA[:5]


@pytest.mark.parametrize(
    ("parts", "length"),
    [
        ((FIELD, OTHER, FILE, NO_NAME, NAMED), len(DATA)),  # image before all others
        ((OTHER, FIELD, NO_NAME), 9),  # then file
        ((FIELD, OTHER, FILE), 5),  # then the first that is a file
        ((FIELD, NAMED, NAMED.replace(DATA, b"")), len(DATA)),
    ],
)
def test_image_comes_first_then_file_then_any_file(parts: tuple[bytes, ...], length: int) -> None:
    assert find_image(form(*parts), "multipart/form-data; boundary=xyz") == DATA[:length]


def test_gzip_of_several_members_and_padding() -> None:
    whole = b"".join(gzip.compress(DATA[at : at + 100]) for at in range(0, len(DATA), 100))
    for padding in (b"", bytes(3), bytes(70_000)):
        assert unpack(whole + padding, "x-gzip", len(DATA)) == DATA
    assert unpack(gzip.compress(bytes(5_000_000)), "gzip", 5_000_000) == bytes(5_000_000)
    with pytest.raises(InputError, match="damaged"):
        unpack(whole + b"more", "gzip", 10**6)
    with pytest.raises(InputError, match="members"):
        unpack(gzip.compress(b"") * 5000, "gzip", 10**6)
    with pytest.raises(InputError, match="damaged"):
        unpack(zlib.compress(DATA) * 2, "deflate", 10**6)


def test_what_is_unpacked_is_counted_while_it_is() -> None:
    taken: list[int] = []

    def take(size: int) -> None:
        taken.append(size)
        if sum(taken) > 2_500_000:
            raise Refusal(503, "full", reason="memory")

    with pytest.raises(Refusal, match="full"):
        unpack(gzip.compress(bytes(10**7)), "gzip", 10**8, take)
    assert sum(taken) < 4_000_000


def test_plain_bodies_are_left_alone() -> None:
    for kind in ("", "image/png", "application/x-www-form-urlencoded", "nonsense;;"):
        assert find_image(DATA, kind) == DATA


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (form(FIELD), "multipart/form-data; boundary=xyz", "has no file"),
        (form(FILE), "multipart/form-data; boundary=other", "form: not valid"),
        (form(FILE)[:-20], "multipart/form-data; boundary=xyz", "has no file"),
        (form(*[FIELD] * 65, FILE), "multipart/form-data; boundary=xyz", "over 64 parts"),
        (form(FILE), "multipart/form-data; boundary=" + "x" * 71, "no boundary"),
        (form(FILE), "multipart/form-data; boundary=xyz" + ";" * 1000, "over 1000 characters"),
        (form(FILE), "multipart/form-data; boundary*=a; boundary*0=b", "no boundary"),
        (form(b"X" * 9000), "multipart/form-data; boundary=xyz", "form: not valid"),
        (b"", "multipart/form-data; boundary=xyz", "has no file"),
        (form(FILE), "multipart/form-data", "no boundary"),
        (form(FILE), "multipart/form-data; boundary=", "no boundary"),
        (form(FILE), "multipart/form-data; boundary*=utf-8''%ff", "no boundary"),
    ],
)
def test_forms_without_a_file(body: bytes, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_image(body, kind)
