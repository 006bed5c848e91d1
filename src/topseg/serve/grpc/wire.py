"""Wire: a message's bytes, checked before they become objects.

A message of 32 MiB can hold 16 million empty inputs, which as objects take fifty times as much. Its
bytes are walked first, field by field, without making anything of them.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from topseg.core.errors import InputError

MAX_FIELDS: Final = 1000
"""Fields of a message, with those of the messages in it. Numbers are packed, so a list is one."""
MAX_TEXT: Final = 2**20
"""Bytes of names, ids and other texts, all together."""
MAX_NUMBERS: Final = 2 * 2**20
"""Bytes of numbers that are not raw."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NESTED, _TEXT, _RAW = (
    FieldDescriptor.TYPE_MESSAGE,
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
)


def check_wire(data: bytes, message: Descriptor) -> None:
    """Check that a message is cheap to parse.

    Args:
        data: Its bytes.
        message: Its type.

    Raises:
        InputError: Too many fields, too long a text, too many numbers, or no message.
    """
    fields, texts, numbers = 0, 0, 0
    left: list[tuple[int, int, Any]] = [(0, len(data), message)]
    while left:
        at, end, kind = left.pop()
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise InputError(f"request: over {MAX_FIELDS} fields; send numbers packed or raw")
            tag, at = _varint(data, at, end)
            wire = tag & 7
            if wire == _VARINT:
                _, at = _varint(data, at, end)
            elif wire == _BYTES:
                size, at = _varint(data, at, end)
                if size > end - at:
                    raise InputError("request: not a message of the protocol")
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.type == _NESTED:
                    left.append((at, at + size, field.message_type))
                elif field is None or field.type == _TEXT:
                    texts += size
                    if texts > MAX_TEXT:
                        raise InputError(f"request: over {MAX_TEXT} bytes of texts")
                elif field.type != _RAW:
                    numbers += size
                    if numbers > MAX_NUMBERS:
                        raise InputError("request: too many numbers; send raw_input_contents")
                at += size
            elif wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
            else:  # groups, which the protocol does not use
                raise InputError("request: not a message of the protocol")


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise InputError("request: not a message of the protocol")
