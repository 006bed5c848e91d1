"""The gRPC messages: ours, read from our own file, are the protocol's."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from topseg.serve.grpc.messages import COMPILED, calls

INFER = calls()["ModelInfer"][0]


def shape_of(descriptor: Any) -> dict[str, Any]:
    """Every field of a message: number, type, whether repeated, and the message it holds."""
    found = {}
    for field in descriptor.fields:
        nested = field.message_type.full_name if field.message_type else None
        oneof = field.containing_oneof.name if field.containing_oneof else None
        found[field.name] = (field.number, field.type, field.is_repeated, nested, oneof)
    return found | {nested.name: shape_of(nested) for nested in descriptor.nested_types}


def test_messages_are_those_of_another_client() -> None:
    pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
    from tritonclient.grpc import service_pb2

    for ours in (one for pair in calls().values() for one in pair):
        name = ours.DESCRIPTOR.name
        theirs = shape_of(getattr(service_pb2, name).DESCRIPTOR)
        for field, described in shape_of(ours.DESCRIPTOR).items():
            assert theirs[field] == described, f"{name}.{field}"


def test_values_survive_the_wire() -> None:
    request = INFER(model_name="m", raw_input_contents=[b"\0\1"])
    request.parameters["timeout"].int64_param = -5
    tensor = request.inputs.add(name="images", datatype="UINT8", shape=[1, 2])
    tensor.contents.uint_contents.extend([1, 255])
    again = INFER.FromString(request.SerializeToString())
    assert again == request
    assert again.parameters["timeout"].WhichOneof("parameter_choice") == "int64_param"


def test_every_call_has_its_messages() -> None:
    assert set(calls()) == {
        "ServerLive",
        "ServerReady",
        "ServerMetadata",
        "ModelReady",
        "ModelMetadata",
        "ModelInfer",
    }
    for name, (request, response) in calls().items():
        assert request.DESCRIPTOR.name == f"{name}Request"
        assert response.DESCRIPTOR.name == f"{name}Response"


def test_compiled_form_is_of_the_file_beside_it(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    out, proto = tmp_path / "out", COMPILED.with_suffix(".proto")
    arguments = [f"-I{proto.parent}", f"--descriptor_set_out={out}", proto.name]
    assert protoc.main(["protoc", *arguments]) == 0
    compiled = FileDescriptorSet.FromString(COMPILED.read_bytes())
    assert compiled == FileDescriptorSet.FromString(out.read_bytes())
