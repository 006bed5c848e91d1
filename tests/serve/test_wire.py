"""Messages are checked before they become objects."""

import pytest

from topseg.core.errors import InputError
from topseg.serve.grpc.messages import calls
from topseg.serve.grpc.wire import MAX_FIELDS, MAX_NUMBERS, MAX_TEXT, check_wire

INFER = calls()["ModelInfer"][0]


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def test_what_clients_send_passes() -> None:
    request = INFER(model_name="m" * 1000, raw_input_contents=[bytes(3_000_000)])
    request.parameters["timeout"].int64_param = -1
    tensor = request.inputs.add(name="images", datatype="UINT8", shape=[1, 512, 512, 3])
    tensor.contents.uint_contents.extend(range(1000))
    tensor.contents.fp64_contents.extend([0.5] * 1000)
    check_wire(request.SerializeToString(), INFER.DESCRIPTOR)
    check_wire(b"", INFER.DESCRIPTOR)


NUMBERS = field(5, field(5, field(4, bytes(MAX_NUMBERS + 1))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x2a\0" * (MAX_FIELDS + 1), "over 1000 fields"),  # empty inputs
        (field(5, b"\x1a\0" * (MAX_FIELDS + 1)), "over 1000 fields"),
        (field(5, field(5, b"\x20\7" * (MAX_FIELDS + 1))), "over 1000 fields"),  # not packed
        (field(6, field(1, bytes(MAX_TEXT + 1))), "bytes of texts"),
        (field(1, bytes(MAX_TEXT // 2)) * 3, "bytes of texts"),
        (field(15, bytes(MAX_TEXT + 1)), "bytes of texts"),  # an unknown field
        (NUMBERS, "too many numbers; send raw_input_contents"),
        (b"\x0b" * 9, "not a message"),  # a group
        (b"\x0a\x05abc", "not a message"),  # cut
        (b"\xff" * 11, "not a message"),
        (b"\x0a", "not a message"),
    ],
)
def test_what_would_cost_much_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_wire(data, INFER.DESCRIPTOR)
