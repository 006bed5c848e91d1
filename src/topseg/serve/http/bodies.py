"""Bodies: what arrived becomes a file's bytes, without a temporary file and within the limits."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from topseg.core.errors import InputError
from topseg.serve.refusal import Refusal, shown, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_MEMBERS: Final = 4096
"""Members of a gzip body; tools write one for 64 kB or more."""
MAX_PARTS: Final = 64
"""Parts of a form."""
MAX_CONTENT_TYPE: Final = 1000
"""Characters of the header."""

_PIECE: Final = 2**16
_STEP: Final = 2**20


def unpack(
    body: bytes, encoding: str, limit: int, take: Callable[[int], None] = lambda size: None
) -> bytes:
    """Undo a request's Content-Encoding, without ever holding more than is allowed.

    Args:
        body: As it was sent.
        encoding: "gzip" (one member or several), "deflate", "identity" or empty.
        limit: Bytes it may have unpacked.
        take: Called with the number of bytes before they are unpacked.

    Raises:
        Refusal: Another encoding, or too large.
        InputError: Damaged.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        message = f"Content-Encoding: got {shown(encoding)}, expected gzip, deflate or none"
        raise Refusal(415, message, reason="format")
    pieces: list[bytes] = []
    size, members = 0, 1
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either header
    for at in range(0, len(body), _PIECE):
        piece = body[at : at + _PIECE]
        while piece:
            if stream.eof:  # another member follows, or the zeros that pad the last one
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                members += 1
                if encoding == "deflate" or members > MAX_MEMBERS:
                    raise InputError(f"request body: damaged, or of over {MAX_MEMBERS} members")
                stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            try:
                pieces.append(stream.decompress(piece, _STEP))
            except zlib.error:
                raise InputError("request body: damaged, it cannot be unpacked") from None
            take(len(pieces[-1]))
            size += len(pieces[-1])
            if size > limit:
                raise too_large("request body, unpacked", f"{limit} bytes")
            piece = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise InputError("request body: truncated, it cannot be unpacked")
    return b"".join(pieces)


def find_image(body: bytes, content_type: str) -> bytes:
    """Return the image of a body: the body itself, or a part of a form.

    Args:
        body: The whole body.
        content_type: Its header.

    Returns:
        Of a form the part named ``image``, else the one named ``file``, else the first file.

    Raises:
        InputError: A form without a file, or one that cannot be read.
    """
    if len(content_type) > MAX_CONTENT_TYPE:
        raise InputError(f"Content-Type: over {MAX_CONTENT_TYPE} characters")
    kind, options = parse_options_header(content_type)
    if kind.lower() != b"multipart/form-data":
        return body
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():  # RFC 2046, 5.1.1
        raise InputError("form: Content-Type has no boundary of 1 to 70 characters")
    form = _Form()
    parser = MultipartParser(boundary, form.callbacks)
    try:
        for at in range(0, len(body), _PIECE):
            parser.write(body[at : at + _PIECE])
            if form.rank == 0:  # nothing better can follow
                break
    except FormParserError as error:
        raise InputError(f"form: not valid ({error})") from None
    if form.found is None:
        raise InputError("form: has no file; name its field 'image'")
    return form.found


class _Form:
    """The best part of a form so far.

    Attributes:
        found: Its content; None: no part is an image.
        rank: 0 for ``image``, 1 for ``file``, 2 for another file, 3 for none.
    """

    def __init__(self) -> None:
        self.found: bytes | None = None
        self.rank = 3
        self._parts = 0
        self._this = 3
        self._name = self._value = b""
        self._disposition = b""
        self._content: list[bytes] = []
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InputError(f"form: over {MAX_PARTS} parts")
        self._disposition, self._content = b"", []
        self._name = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition[:MAX_CONTENT_TYPE])
        ranks = {b"image": 0, b"file": 1}
        other = 2 if b"filename" in options or b"filename*" in options else 3
        self._this = ranks.get(options.get(b"name", b""), other)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._this < self.rank:
            self._content.append(data[start:end])

    def _end(self) -> None:
        if self._this < self.rank:
            self.found, self.rank = b"".join(self._content), self._this
            self._content = []
