r"""Messages: the classes of ``inference.proto``, made of its compiled form when first used.

Generated code would tie the package to one range of protobuf versions, and would clash with any
other client of the protocol in the same process, for both register the same names. So ``protoc``
writes a descriptor set alone, which is read into a pool of its own::

    python -m grpc_tools.protoc -I src/topseg/serve/grpc \
        --descriptor_set_out=src/topseg/serve/grpc/inference.binpb inference.proto
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

COMPILED: Final = Path(__file__).with_name("inference.binpb")
SERVICE: Final = "inference.GRPCInferenceService"


@functools.cache
def _service() -> ServiceDescriptor:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
        pool.Add(file)
    return pool.FindServiceByName(SERVICE)


@functools.cache
def calls() -> dict[str, tuple[Any, Any]]:
    """Return the service's calls: name -> (request class, response class)."""
    return {
        call.name: (GetMessageClass(call.input_type), GetMessageClass(call.output_type))
        for call in _service().methods
    }
