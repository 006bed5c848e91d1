"""Bodies of the Open Inference Protocol: read, refused, written."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.serve import protocol
from topseg.serve.numbers import Numbers, read_numbers
from topseg.serve.protocol import Inference, read_request, write_response
from topseg.serve.refusal import Refusal

IMAGES = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
TENSOR = {"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3]}
BINARY = {**TENSOR, "parameters": {"binary_data_size": IMAGES.nbytes}}


def read(bundle: Bundle, request: Any, binary: bytes = b"") -> Inference:
    head = json.dumps(request).encode()
    return read_request(head + binary, len(head), bundle.metadata)


def array(inference: Inference) -> Any:
    """Return the images, which are text where they are many numbers."""
    return inference.images.array() if isinstance(inference.images, Numbers) else inference.images


def test_many_numbers_stay_text_until_a_worker_reads_them(fake: Bundle) -> None:
    data = np.full((1, 128, 96, 3), 200).tolist()
    request = {"inputs": [{**TENSOR, "shape": [1, 128, 96, 3], "data": data}], "id": '"data":[1]'}
    inference = read(fake, request)
    assert isinstance(inference.images, Numbers)
    assert inference.images.shape == (1, 128, 96, 3)
    np.testing.assert_array_equal(inference.images.array(), data)
    assert inference.id == '"data":[1]'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("7," * 40_000 + "7", "got 40001 numbers, expected 3072"),
        ("[7,7,7]," * 9000 + "[7,7]", "rows of unequal length"),
        ("[7,7,7]," * 9000 + "7", "rows of unequal length"),
        ("[7]," * 30_000 + "[[7]]", "expected whole numbers"),
        ("7," * 40_000 + "256", "expected whole numbers from 0 to 255"),
        ("7," * 40_000 + "7.5", "expected whole numbers"),
        ("9" * 100_000, "not valid JSON"),
        ("7 " * 40_000 + "7", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "not valid JSON"),
        ('"' + "a" * 250_000 + '"' + ',""' * 2000, "besides data of numbers"),
        ("1," * 40_000 + "1", "got 40001 numbers, expected 3072"),
        ("{}," * 40_000 + "{}", "besides data of numbers"),
        ("true," * 40_000 + "true", "besides data of numbers"),
    ],
)
def test_long_data_that_is_not_numbers(fake: Bundle, data: str, message: str) -> None:
    text = json.dumps({"inputs": [{**TENSOR, "data": []}]}).replace("[]", f"[{data}]").encode()
    with pytest.raises(InputError, match=message):
        array(read_request(text, None, fake.metadata))


def test_a_shape_beyond_any_array_is_refused(fake: Bundle) -> None:
    tree = {**TENSOR, "shape": [2**30, 2**30, 2**30, 3], "data": [1] * 40_000}
    with pytest.raises(InputError, match="data: too short for the shape"):
        read_request(json.dumps({"inputs": [tree]}).encode(), None, fake.metadata)


def test_numbers_beyond_64_bits_and_long_texts_are_not_repeated(fake: Bundle) -> None:
    huge, long = "9" * 4000, "a" * 5000
    for key, value in [
        ("shape", f"[1,{huge},1,1]"),
        ("parameters", '{"binary_data_size":' + huge + "}"),
        ("name", f'"{long}"'),
        ("datatype", f'"{long}"'),
        ("datatype", huge),
    ]:
        tree = {**TENSOR, "data": [7], key: "HERE"}
        text = json.dumps({"inputs": [tree]}).replace('"HERE"', value).encode()
        with pytest.raises(InputError) as caught:
            read_request(text, None, fake.metadata)
        assert len(str(caught.value)) < 500
    text = json.dumps({"parameters": {"timeout": "HERE"}, "inputs": [BINARY]}).replace(
        '"HERE"', huge
    )
    with pytest.raises(InputError, match="timeout: got a number of 13288 bits"):
        read_request(text.encode() + IMAGES.tobytes(), len(text), fake.metadata)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_numbers_of_other_types(fake: Bundle, dtype: str) -> None:
    given = [1, 2.5, -3] if dtype == "float32" else [0, 65535, 7]
    read = read_numbers("x", given, (3,), np.dtype(dtype))
    np.testing.assert_array_equal(read, np.array(given, dtype))
    with pytest.raises(InputError, match="expected"):
        read_numbers("x", [1e39] if dtype == "float32" else [65536], (1,), np.dtype(dtype))


@pytest.mark.parametrize("shape", [(-1,), (1, 32, 32, 3), (32, 96)])
def test_numbers_may_be_nested_or_not(fake: Bundle, shape: tuple[int, ...]) -> None:
    data = IMAGES.reshape(shape).tolist()
    inference = read(fake, {"inputs": [{**TENSOR, "data": data}], "id": "7"})
    np.testing.assert_array_equal(inference.images, IMAGES)
    assert inference.images.dtype == np.uint8
    assert inference.outputs == {"logits": False, "masks": False}
    assert (inference.id, inference.seconds) == ("7", None)


def test_binary_tensors_and_parameters(fake: Bundle) -> None:
    request = {
        "inputs": [BINARY],
        "outputs": [{"name": "masks"}, {"name": "logits", "parameters": {"binary_data": False}}],
        "parameters": {"binary_data_output": True, "timeout": 1_500_000},
    }
    inference = read(fake, request, IMAGES.tobytes())
    np.testing.assert_array_equal(inference.images, IMAGES)
    assert inference.outputs == {"masks": True, "logits": False}
    assert inference.seconds == 1.5


@pytest.mark.parametrize(
    ("request_", "binary", "message"),
    [
        ({}, b"", "none given, expected 'images'"),
        ([], b"", "got a list, expected an object"),
        ({"inputs": 3}, b"", "inputs: expected a list of at most 16 objects"),
        ({"inputs": [[]]}, b"", "inputs: expected a list of at most 16 objects"),
        ({"inputs": [{**TENSOR, "name": "x"}]}, b"", "got 'x', expected 'images'"),
        ({"inputs": [{**TENSOR, "name": ["x"]}]}, b"", "expected 'images'"),
        ({"inputs": [{**TENSOR, "datatype": "FP32"}]}, b"", "got 'FP32', expected UINT8"),
        ({"inputs": [{**TENSOR, "shape": [1, 32, 32]}]}, b"", "expected [batch, height"),
        ({"inputs": [{**TENSOR, "shape": [1, 32, -32, 3]}]}, b"", "expected [batch, height"),
        ({"inputs": [{**TENSOR, "shape": [1, 32, True, 3]}]}, b"", "expected [batch, height"),
        ({"inputs": [{**TENSOR, "shape": "1323"}]}, b"", "expected [batch, height"),
        ({"inputs": [TENSOR]}, b"", "expected whole numbers from 0 to 255"),
        ({"inputs": [{**TENSOR, "data": [256] * 3072}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": [-1] * 3072}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": [0.5] * 3072}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": ["a"] * 3072}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": [10**30] * 3072}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": {"a": 1}}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": []}]}, b"", "expected whole numbers"),
        ({"inputs": [{**TENSOR, "data": [[1], [1, 2]]}]}, b"", "unequal length"),
        ({"inputs": [{**TENSOR, "data": [1] * 5}]}, b"", "got 5 numbers, expected 3072"),
        ({"inputs": [BINARY]}, b"123", "binary_data_size: got 3072, but 3 bytes follow"),
        ({"inputs": [BINARY]}, IMAGES.tobytes() + b"0", "1 bytes follow that no input claims"),
        (
            {"inputs": [{**TENSOR, "parameters": {"binary_data_size": 3}}]},
            b"123",
            "got 3 bytes, expected 3072",
        ),
        (
            {"inputs": [{**TENSOR, "parameters": {"binary_data_size": "3"}}]},
            b"123",
            "binary_data_size: got '3'",
        ),
        ({"inputs": [{**TENSOR, "parameters": 3}]}, b"", "parameters: expected an object"),
        (
            {"inputs": [{**TENSOR, "parameters": {"shared_memory_region": "x"}}]},
            b"",
            "shared memory is not offered",
        ),
        ({"inputs": [{**BINARY, "shape": [1, 16, 64, 3]}]}, IMAGES.tobytes(), "multiples of 32"),
        (
            {"inputs": [BINARY], "outputs": [{"name": "mask"}]},
            IMAGES.tobytes(),
            "no output 'mask', did you mean 'masks'?",
        ),
        (
            {"inputs": [BINARY], "outputs": [{"name": []}]},
            IMAGES.tobytes(),
            "no output a list of 0",
        ),
        (
            {
                "inputs": [BINARY],
                "outputs": [{"name": "logits", "parameters": {"classification": 1}}],
            },
            IMAGES.tobytes(),
            "classification is not offered",
        ),
        (
            {"inputs": [BINARY], "parameters": {"timeout": "1"}},
            IMAGES.tobytes(),
            "timeout: got '1'",
        ),
    ],
)
def test_what_is_wrong_is_said(fake: Bundle, request_: Any, binary: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        array(read(fake, request_, binary))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (b"", None, "not valid JSON"),
        (b"{", None, "not valid JSON"),
        (b"\xff", None, "not valid JSON"),
        (b'{"a": NaN}', None, "not valid JSON"),
        (b"[" * 60_000, None, "not valid JSON"),
        (b"[" * 100_000, None, "besides data of numbers"),
        (b"{}", 3, "got 3, but the body has 2 bytes"),
        (b"{}", -1, "got -1"),
    ],
)
def test_bodies_that_are_no_json(fake: Bundle, body: bytes, length: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_request(body, length, fake.metadata)
    assert message in str(caught.value)


def test_json_is_bounded(fake: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "JSON_LIMIT", 9)
    with pytest.raises(Refusal, match="send binary tensors") as refused:
        read_request(b"{}        ", None, fake.metadata)
    assert refused.value.status == 413


def test_answers_in_both_forms() -> None:
    tensors = {
        "logits": np.arange(6, dtype=np.float32).reshape(1, 3, 2, 1),
        "masks": np.array([[[1, 300]]], np.uint16),
    }
    inference = Inference(IMAGES, {"masks": True, "logits": False}, id="a")
    body, length = write_response("m", inference, tensors)
    tree = json.loads(body[:length])
    assert (tree["model_name"], tree["model_version"], tree["id"]) == ("m", "1", "a")
    masks, logits = tree["outputs"]
    assert masks == {
        "name": "masks",
        "datatype": "UINT16",
        "shape": [1, 1, 2],
        "parameters": {"binary_data_size": 4},
    }
    assert body[length:] == b"\x01\x00\x2c\x01"
    assert (logits["datatype"], logits["shape"], logits["data"]) == (
        "FP32",
        [1, 3, 2, 1],
        [*range(6)],
    )

    body, length = write_response("m", Inference(IMAGES, {"logits": False}), tensors)
    assert length is None
    assert "id" not in json.loads(body)


def test_description_knows_wide_masks(fake: Bundle, make_wide: Callable[[], Any]) -> None:
    outputs = protocol.model_metadata("wide", make_wide())["outputs"]
    assert outputs[1] == {"name": "masks", "datatype": "UINT16", "shape": [-1, -1, -1]}
    assert protocol.model_metadata("m", fake.metadata)["outputs"][1]["datatype"] == "UINT8"


@pytest.fixture
def make_wide(fake: Bundle) -> Callable[[], Any]:
    """Metadata of 300 classes."""
    import dataclasses

    from topseg.core.labels import default_palette

    model = dataclasses.replace(fake.metadata.architecture, num_classes=300)
    names = tuple(map(str, range(300)))
    return lambda: dataclasses.replace(
        fake.metadata, architecture=model, classes=names, palette=default_palette(300)
    )
