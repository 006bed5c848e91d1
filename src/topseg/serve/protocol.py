"""Open Inference Protocol, version 2: what its REST and gRPC forms share, and the REST bodies.

A model has one input, "images" (B, H, W, C), as its network takes them, and two outputs: "logits"
(B, K, H/8, W/8) and "masks" (B, H, W). The same client works with the exported graph elsewhere.

Source: https://github.com/kserve/open-inference-protocol, with the binary tensor data extension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json

from topseg import __version__
from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError, did_you_mean
from topseg.runtimes.base import check_images
from topseg.serve.numbers import Numbers, read_numbers
from topseg.serve.refusal import SHOWN, shown, too_large

EXTENSIONS: Final = ("binary_tensor_data",)
VERSION: Final = "1"
INPUT: Final = "images"
OUTPUTS: Final = ("logits", "masks")
DATATYPES: Final = {"uint8": "UINT8", "uint16": "UINT16", "float32": "FP32"}

JSON_LIMIT: Final = 8 * 2**20
"""Bytes of JSON: as Python objects they become many times as large."""
MAX_TENSORS: Final = 16
"""Inputs, and outputs, that a request may name."""
SMALL: Final = 2**16
"""Bytes of JSON that are read at once; a larger body may have numbers beyond them only."""
PIECE: Final = 2**14
"""Numbers that are written at once."""

_DATA: Final = re.compile(rb'"data"\s*:\s*(\[[\d\s.,eE+\-\[\]]*\])')
"""A tensor's numbers. Within a text a quote has a backslash, so it is never part of one."""


@dataclass(frozen=True)
class Inference:
    """A request, however it came.

    Attributes:
        images: (B, H, W, C).
        outputs: Wanted output -> whether in binary form.
        id: Given back with the answer.
        seconds: Until the client's deadline, where it has one.
    """

    images: NDArray[np.uint8] | Numbers
    outputs: dict[str, bool]
    id: str = ""
    seconds: float | None = None


def server_metadata() -> dict[str, Any]:
    """Describe the server."""
    return {"name": "topseg", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(name: str, metadata: Metadata) -> dict[str, Any]:
    """Describe a model: -1 is any size."""
    classes, channels = metadata.architecture.num_classes, metadata.architecture.in_channels
    masks = DATATYPES[metadata.labels.dtype.name]
    pixels = DATATYPES[metadata.input_dtype]
    return {
        "name": name,
        "versions": [VERSION],
        "platform": "topseg_bundle",
        "inputs": [{"name": INPUT, "datatype": pixels, "shape": [-1, -1, -1, channels]}],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, classes, -1, -1]},
            {"name": "masks", "datatype": masks, "shape": [-1, -1, -1]},
        ],
    }


def read_request(body: bytes, header_length: int | None, metadata: Metadata) -> Inference:
    """Read the body of ``POST /v2/models/NAME/infer``.

    Args:
        body: JSON, which binary tensors may follow.
        header_length: Length of the JSON (the header Inference-Header-Content-Length); None: all.
        metadata: Of the model.

    Raises:
        InputError: What is wrong with it.
        Refusal: Too much JSON.
    """
    # The JSON, and where the binary tensors begin.
    length = len(body) if header_length is None else header_length
    if not 0 <= length <= len(body):
        raise InputError(
            f"Inference-Header-Content-Length: got {length}, but the body has {len(body)} bytes"
        )
    if length > JSON_LIMIT:
        raise too_large(f"request: {length} bytes of JSON", f"{JSON_LIMIT}; send binary tensors")
    tree, texts = _json(body[:length])
    # The inputs: bytes behind the JSON, text that is not read yet, or numbers.
    given: dict[str, Any] = {}
    at = length
    for tensor in _mappings(tree, "inputs"):
        size = _parameters(tensor).get("binary_data_size")
        values = tensor.get("data")
        if size is not None:
            if not _is_int(size) or not 0 <= size <= len(body) - at:
                raise InputError(
                    f"inputs: binary_data_size: got {shown(size)}, "
                    f"but {len(body) - at} bytes follow"
                )
            values, at = memoryview(body)[at : at + size], at + size
        elif texts and isinstance(values, int) and 0 <= values < len(texts):
            values = texts[values]
        name, shape = tensor.get("name"), tensor.get("shape")
        images = read_images(name, tensor.get("datatype"), shape, values, metadata)
        if given:
            raise InputError(f"inputs: '{INPUT}' is given twice")
        given[INPUT] = images
    if at != len(body):
        raise InputError(f"request: {len(body) - at} bytes follow that no input claims")
    # The outputs, each in binary form where it or the whole request says so.
    parameters = _parameters(tree)
    binary = parameters.get("binary_data_output") is True
    outputs: dict[str, bool] = {}
    for tensor in _mappings(tree, "outputs"):
        own = _parameters(tensor)
        if "classification" in own:
            raise InputError("outputs: classification is not offered; take 'masks'")
        outputs[check_output(tensor.get("name"))] = own.get("binary_data", binary) is True
    return Inference(
        only_input(given),
        outputs or dict.fromkeys(OUTPUTS, binary),
        check_id(tree.get("id") or ""),
        read_timeout(parameters.get("timeout")),
    )


def read_images(name: Any, datatype: Any, shape: Any, values: Any, metadata: Metadata) -> Any:
    """Make the input tensor, whichever way its values came.

    Args:
        name: Its name.
        datatype: Its type's name in the protocol.
        shape: Its sides.
        values: Bytes in row-major order, numbers in lists, nested or not, or their text.
        metadata: Of the model.

    Returns:
        (B, H, W, C) as the network takes it, or :class:`Numbers` where a text was given.

    Raises:
        InputError: What is wrong with it.
    """
    if name != INPUT:
        raise InputError(f"inputs: got {shown(name)}, expected '{INPUT}'")
    expected = DATATYPES[metadata.input_dtype]
    if datatype != expected:
        raise InputError(f"{name}: datatype: got {shown(datatype)}, expected {expected}")
    dtype = np.dtype(metadata.input_dtype)
    sides = shape if isinstance(shape, list) and len(shape) == 4 else [0]
    if not all(_is_int(side) and 0 < side < 2**31 for side in sides):
        got = ", ".join(map(shown, shape[:8])) if isinstance(shape, list) else shown(shape)
        raise InputError(f"{name}: shape: got [{got}], expected [batch, height, width, channels]")
    if isinstance(values, bytes | memoryview):
        if len(values) != math.prod(shape) * dtype.itemsize:
            raise InputError(
                f"{name}: got {len(values)} bytes, expected {math.prod(shape) * dtype.itemsize} "
                f"for the shape {list(shape)}"
            )
        images = np.frombuffer(values, dtype.newbyteorder("<"))
        images = images.reshape(shape)
    elif isinstance(values, _Text):
        count = math.prod(shape)  # maybe beyond any array of NumPy's, even one without memory
        if count > len(values.json):
            raise InputError(f"{name}: data: too short for the shape {shape} of {count} numbers")
        check_images(np.broadcast_to(np.zeros((), dtype), shape), metadata)
        return Numbers(name, values.json, tuple(shape), dtype.name)
    else:
        images = read_numbers(name, values, tuple(shape), dtype)
    check_images(images, metadata)
    return images


def only_input(given: Mapping[str, Any]) -> Any:
    """Return the one input there must be.

    Raises:
        InputError: There is none.
    """
    if INPUT not in given:
        raise InputError(f"inputs: none given, expected '{INPUT}'")
    return given[INPUT]


def check_output(name: Any) -> str:
    """Return the name of an output that every model has.

    Raises:
        InputError: Another name.
    """
    if name not in OUTPUTS:
        word = name[:SHOWN] if isinstance(name, str) else ""
        raise InputError(f"outputs: no output {shown(name)}{did_you_mean(word, OUTPUTS)}")
    return str(name)


def check_id(identity: Any) -> str:
    """Return a request's id, which its answer repeats.

    Raises:
        InputError: No text, or a long one.
    """
    if not isinstance(identity, str) or len(identity) > SHOWN:
        raise InputError(f"id: got {shown(identity)}, expected at most {SHOWN} characters")
    return identity


def read_timeout(microseconds: Any) -> float | None:
    """Turn the parameter "timeout" into seconds.

    Raises:
        InputError: It is no whole number of at most 63 bits.
    """
    if microseconds is not None and not (_is_int(microseconds) and 0 <= microseconds < 2**63):
        raise InputError(f"timeout: got {shown(microseconds)}, expected whole microseconds")
    return microseconds / 1e6 if microseconds else None


def write_response(
    model: str, inference: Inference, tensors: Mapping[str, NDArray[Any]]
) -> tuple[bytes, int | None]:
    """Write the body of an answer.

    Args:
        model: Its name.
        inference: What was asked for.
        tensors: Outputs by name.

    Returns:
        The body, and the length of its JSON where binary tensors follow.
    """
    outputs: list[bytes] = []
    binary: list[bytes] = []
    for name, as_bytes in inference.outputs.items():
        array = tensors[name]
        one = {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": array.shape}
        if as_bytes:
            binary.append(to_bytes(array))
            outputs.append(to_json({**one, "parameters": {"binary_data_size": len(binary[-1])}}))
        else:
            outputs.append(to_json(one)[:-1] + b',"data":[' + _json_numbers(array) + b"]}")
    about = {"model_name": model, "model_version": VERSION}
    about |= {"id": inference.id} if inference.id else {}
    header = to_json(about)[:-1] + b',"outputs":[' + b",".join(outputs) + b"]}"
    return b"".join([header, *binary]), len(header) if binary else None


def to_bytes(array: NDArray[Any]) -> bytes:
    """Return an array's values, row-major and little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


@dataclass(frozen=True)
class _Text:
    """Numbers that are not read yet."""

    json: bytes


def _json(data: bytes) -> tuple[dict[str, Any], list[_Text]]:
    """Return an object, and of a large one its numbers as texts, each replaced by its place."""
    texts: list[_Text] = []
    if len(data) > SMALL:

        def cut(found: re.Match[bytes]) -> bytes:
            if len(texts) == MAX_TENSORS:
                raise InputError(f"inputs: expected a list of at most {MAX_TENSORS} objects")
            texts.append(_Text(found[1]))
            return b'"data":%d' % (len(texts) - 1)

        data = _DATA.sub(cut, data)
        if len(data) > SMALL:
            raise InputError(
                f"request: {len(data)} bytes of JSON besides data of numbers, expected at most "
                f"{SMALL}"
            )
    try:
        tree = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InputError(f"request: not valid JSON ({error})") from None
    if not isinstance(tree, dict):
        raise InputError(f"request: got a {type(tree).__name__}, expected an object")
    return tree, texts


def _json_numbers(array: NDArray[Any]) -> bytes:
    """Return numbers as JSON, without brackets; in pieces, for others to run between them."""
    flat = array.ravel()
    pieces = (flat[at : at + PIECE].tolist() for at in range(0, flat.size, PIECE))
    return b",".join(to_json(piece)[1:-1] for piece in pieces)


def _mappings(tree: Mapping[str, Any], key: str) -> Iterable[dict[str, Any]]:
    found = tree.get(key) or []
    listed = isinstance(found, list) and len(found) <= MAX_TENSORS
    if not listed or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{key}: expected a list of at most {MAX_TENSORS} objects")
    return found


def _parameters(tree: Mapping[str, Any]) -> dict[str, Any]:
    found = tree.get("parameters") or {}
    if not isinstance(found, dict):
        raise InputError("parameters: expected an object")
    if any(key.startswith("shared_memory") for key in found):
        raise InputError("parameters: shared memory is not offered; send binary tensors")
    return found


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
