"""Bodies: what arrived becomes a file's bytes, without a temporary file and within the limit."""

from __future__ import annotations

import re
import zlib
from email.message import Message

from topseg.core.errors import InputError
from topseg.serve.refusal import Refusal, too_large


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a request's Content-Encoding, without ever holding more than is allowed.

    Args:
        body: As it was sent.
        encoding: "gzip", "deflate", "identity" or empty.
        limit: Bytes it may have unpacked.

    Raises:
        Refusal: Another encoding, or too large.
        InputError: Damaged.
    """
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "deflate"):
        message = f"Content-Encoding: got '{encoding[:40]}', expected gzip, deflate or none"
        raise Refusal(415, message, reason="format")
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either header
    try:
        unpacked = stream.decompress(body, limit + 1)
    except zlib.error:
        raise InputError("request body: damaged, it cannot be unpacked") from None
    if len(unpacked) > limit:
        raise too_large("request body, unpacked", f"{limit} bytes")
    if not stream.eof:
        raise InputError("request body: truncated, it cannot be unpacked")
    return unpacked


def find_image(body: bytes, content_type: str) -> bytes:
    """Give the image of a body: the body itself, or the file in a form.

    Args:
        body: The whole body.
        content_type: Its header.

    Raises:
        InputError: A form without a file.
    """
    header = Message()
    header["Content-Type"] = re.sub(r"[\r\n]", " ", content_type)
    if header.get_content_type() != "multipart/form-data":
        return body
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary or not boundary.isascii():
        raise InputError("form: Content-Type has no boundary")
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        if separator and re.search(rb'\bfilename\*?=|\bname="?(image|file)"?', head):
            return content
    raise InputError("form: has no file; name its field 'image'")
