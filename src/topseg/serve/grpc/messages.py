"""Messages: the classes of ``inference.proto``, made of it when they are first used.

Generated code would tie the package to one range of protobuf versions, and would clash with any
other client of the protocol in the same process, for both register the same names. So the file is
read here, in the subset of the language that it is written in, into a pool of its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PROTO: Final = Path(__file__).with_name("inference.proto")
PACKAGE: Final = "inference"
SERVICE: Final = f"{PACKAGE}.GRPCInferenceService"

_SCALARS: Final = {"bool", "bytes", "double", "float", "int32", "int64", "string"} | {
    "uint32",
    "uint64",
}


def read_proto(text: str) -> tuple[FileDescriptorProto, dict[str, tuple[str, str]]]:
    """Read a .proto file of messages (scalars, maps, oneofs, nested messages) and unary calls.

    Returns:
        Its descriptor without the service, and the service's calls: name -> (request, response).
    """
    file = FileDescriptorProto(name="topseg/inference.proto", package=PACKAGE, syntax="proto3")
    calls: dict[str, tuple[str, str]] = {}
    words = iter(re.findall(r'\w+|"[^"]*"|[^\s\w]', re.sub(r"//[^\n]*", "", text)))
    for word in words:
        if word == "message":
            _read_message(words, file.message_type.add(name=next(words)))
        elif word == "rpc":
            name, _, request, _, _, _, response = (next(words) for _ in range(7))
            calls[name] = (request, response)
    return file, calls


def _read_message(words: Iterator[str], message: DescriptorProto) -> None:
    """Read from a message's "{" to its "}"."""
    next(words)
    oneof: dict[str, int] = {}
    for word in words:
        if word == "}" and oneof:
            oneof = {}
        elif word == "}":
            return
        elif word == "message":
            _read_message(words, message.nested_type.add(name=next(words)))
        elif word == "oneof":
            oneof = {"oneof_index": len(message.oneof_decl)}
            message.oneof_decl.add(name=next(words))
            next(words)
        else:
            _read_field(words, word, message, oneof)


def _read_field(
    words: Iterator[str], word: str, message: DescriptorProto, oneof: dict[str, int]
) -> None:
    repeated, kind, entry = word in ("repeated", "map"), word, None
    if word == "map":
        _, key, _, value, _ = (next(words) for _ in range(5))
        entry = (key, value)
    elif repeated:
        kind = next(words)
    name, _, number, _ = (next(words) for _ in range(4))
    if entry is not None:
        kind = "".join(part.title() for part in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=kind)
        nested.options.map_entry = True
        for at, (part, what) in enumerate(zip(("key", "value"), entry, strict=True), start=1):
            nested.field.add(name=part, number=at, label=1, **_type(what))
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    message.field.add(name=name, number=int(number), label=label, **_type(kind), **oneof)


def _type(kind: str) -> dict[str, Any]:
    if kind in _SCALARS:
        return {"type": FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")}
    return {"type": FieldDescriptorProto.TYPE_MESSAGE, "type_name": kind}


@functools.cache
def messages() -> dict[str, Any]:
    """Give the classes by message name."""
    file, _ = read_proto(PROTO.read_text())
    pool = DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {
        name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names
    }


def calls() -> dict[str, tuple[Any, Any]]:
    """Give the service's calls: name -> (request class, response class)."""
    _, found = read_proto(PROTO.read_text())
    return {name: (messages()[a], messages()[b]) for name, (a, b) in found.items()}
