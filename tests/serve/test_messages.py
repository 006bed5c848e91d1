"""The gRPC messages: ours, read from our own file, are the protocol's."""

from typing import Any

import pytest

from topseg.serve.grpc.messages import PROTO, calls, messages, read_proto


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

    for name, ours in messages().items():
        theirs = shape_of(getattr(service_pb2, name).DESCRIPTOR)
        for field, described in shape_of(ours.DESCRIPTOR).items():
            assert theirs[field] == described, f"{name}.{field}"


def test_values_survive_the_wire() -> None:
    request = messages()["ModelInferRequest"](model_name="m", raw_input_contents=[b"\0\1"])
    request.parameters["timeout"].int64_param = -5
    tensor = request.inputs.add(name="images", datatype="UINT8", shape=[1, 2])
    tensor.contents.uint_contents.extend([1, 255])
    again = messages()["ModelInferRequest"].FromString(request.SerializeToString())
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


def test_reader_takes_the_language_apart() -> None:
    file, found = read_proto(
        """
        // a comment { ; }
        message A { message B { bool x = 1; } repeated B many = 2; // another
          oneof either { string left = 3; B right = 4; } map<string, B> by_name = 7; int32 z = 9; }
        service S { rpc Do(A) returns (A); }
        """
    )
    message = file.message_type[0]
    assert [field.name for field in message.field] == ["many", "left", "right", "by_name", "z"]
    assert [nested.name for nested in message.nested_type] == ["B", "ByNameEntry"]
    assert message.field[1].oneof_index == 0
    assert message.oneof_decl[0].name == "either"
    assert not message.field[4].HasField("oneof_index")
    assert found == {"Do": ("A", "A")}


def test_file_is_what_compilers_take() -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    assert (
        protoc.main(["protoc", f"-I{PROTO.parent}", "--descriptor_set_out=/dev/null", str(PROTO)])
        == 0
    )
