"""gRPC: the Open Inference Protocol's calls, answered by the same service as REST."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError
from topseg.serve import protocol
from topseg.serve.grpc.messages import SERVICE, calls
from topseg.serve.grpc.wire import check_wire
from topseg.serve.http.guard import Keys, log_request, request_id
from topseg.serve.memory import Share
from topseg.serve.protocol import Inference
from topseg.serve.refusal import Refusal
from topseg.serve.service import Service
from topseg.serve.workers.pipeline import Tensors

log = logging.getLogger("topseg.serve")

_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_HEALTH: Final = frozenset({"ServerLive", "ServerReady"})
"""Calls that are answered without their message, which is empty."""
_OPEN: Final = _HEALTH | {"ModelReady"}
"""Calls that need no key."""
IDLE_SECONDS: Final = 30.0
"""Least time that an unused connection stays open."""


async def start_rpc(
    service: Service, address: str, max_connections: int
) -> tuple[grpc.aio.Server, int]:
    """Listen.

    Args:
        service: What answers.
        address: Host and port.
        max_connections: Open connections.

    Returns:
        The server, and the port it listens on.

    Raises:
        InputError: The address cannot be listened on.
    """
    config, answers = service.config, Calls(service)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", config.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.server_handshake_timeout_ms", int(1000 * config.head_s)),
            ("grpc.max_connection_idle_ms", int(1000 * max(config.head_s, IDLE_SECONDS))),
            ("grpc.http2.bdp_probe", 0),  # windows stay small: a call waits unread, not in memory
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=2 * answers.places + config.max_connections,
    )
    handlers: dict[str, Any] = {
        name: grpc.stream_unary_rpc_method_handler(
            answers.handler(name), None, response.SerializeToString
        )
        for name, (_, response) in calls().items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        if config.tls_cert and config.tls_key:
            pair = (config.tls_key.read_bytes(), config.tls_cert.read_bytes())
            port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError:
        raise InputError(
            f"gRPC: cannot listen on {address}; choose another grpc_port, or null for none"
        ) from None
    await server.start()
    return server, port


class Calls:
    """One method per call; a refusal becomes the status that means the same.

    To the library the calls are streams of requests (of one request, as clients send), so that a
    call's key is checked and its place in memory found before its message is received.

    Attributes:
        places: Calls that may still begin; those about health need none.
    """

    def __init__(self, service: Service) -> None:
        """Answer for a service."""
        self._service = service
        self._keys = Keys(service.config.api_keys)
        config = service.config
        self.places = len(service.models) * (config.queue + config.worker_count) + 16
        self._readers = asyncio.Semaphore(
            max(1, config.max_held_bytes // config.max_request_bytes // 4)
        )

    def handler(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return the handler of one call, from a request's bytes to a response."""
        answer: Callable[[Any, Any], Awaitable[dict[str, Any]]] = getattr(self, f"_{name}")
        request_class, response_class = calls()[name]

        async def handle(_: Any, context: Any) -> Any:
            start, status, refusal = time.perf_counter(), 200, None
            size = placed = 0
            body, request = b"", None
            metadata = dict(context.invocation_metadata() or ())
            share = Share(self._service.memory)
            context.add_done_callback(lambda _: share.close())  # once the answer is sent
            try:
                # The key and a place, before the message is received.
                if name not in _OPEN:
                    self._keys.check(str(metadata.get("authorization", "")))
                if name in _HEALTH:
                    return response_class(**await answer(None, context))
                self._take_place()
                placed = 1
                # The message, counted and checked before it becomes objects; then the answer.
                body = await self._read(context)
                size = len(body)
                share.take(size)
                check_wire(body, request_class.DESCRIPTOR)
                request, body = request_class.FromString(body), b""
                response = response_class(**await answer(request, context))
                share.take(response.ByteSize())
                return response
            except Refusal as refused:
                refusal = refused.with_traceback(None)  # whose frames hold the message
            except InputError as error:
                refusal = Refusal(400, str(error), reason="input")
            except DecodeError:
                refusal = Refusal(400, f"request: no {name}Request of the protocol", reason="input")
            except asyncio.CancelledError:
                status = 499  # the client left
                raise
            except Exception:
                log.exception("call failed")
                refusal = Refusal(500, "internal error; see the server log", reason="fault")
            finally:
                body, request = b"", None
                self.places += placed
                status = refusal.status if refusal else status
                seconds = time.perf_counter() - start
                self._service.metrics.count(f"grpc {name}", status, refusal, seconds)
                log_request(request_id(metadata), "grpc", name, status, seconds, size, refusal)
            await context.abort(_CODES[refusal.status], refusal.message)

        return handle

    def _take_place(self) -> None:
        """Reserve one of the places of calls that are not about health."""
        if self.places == 0:
            raise Refusal(503, "busy: too many calls; try again", reason="calls", retry_after=1)
        self.places -= 1

    async def _read(self, context: Any) -> bytes:
        """Receive a call's message, within the limit of time; few at once, for memory's sake."""
        seconds = self._service.config.body_s
        try:
            async with asyncio.timeout(seconds), self._readers:
                body = await context.read()
        except TimeoutError:
            message = f"the message did not arrive within {seconds:g} s"
            raise Refusal(408, message, reason="slow_client") from None
        if body is grpc.aio.EOF:
            raise Refusal(400, "request: no message", reason="input")
        return bytes(body)

    async def _ServerLive(self, request: Any, context: Any) -> dict[str, Any]:
        return {"live": True}

    async def _ServerReady(self, request: Any, context: Any) -> dict[str, Any]:
        return {"ready": self._service.ready}

    async def _ServerMetadata(self, request: Any, context: Any) -> dict[str, Any]:
        return protocol.server_metadata()

    async def _ModelReady(self, request: Any, context: Any) -> dict[str, Any]:
        return {"ready": self._service.model(request.name, request.version).ready}

    async def _ModelMetadata(self, request: Any, context: Any) -> dict[str, Any]:
        model = self._service.model(request.name, request.version)
        return protocol.model_metadata(model.name, model.bundle.metadata)

    async def _ModelInfer(self, request: Any, context: Any) -> dict[str, Any]:
        service = self._service
        model = service.model(request.model_name, request.model_version)
        if request.raw_input_contents:
            inference = read_call(request, model.bundle.metadata)
        else:  # numbers one by one
            inference = await service.in_thread(read_call, request, model.bundle.metadata)
        times = [t for t in (inference.seconds, context.time_remaining()) if t is not None]
        task = Tensors(inference.images, tuple(inference.outputs))
        answer = await service.infer(model, task, min(times, default=None))
        tensors = [(name, answer.tensors[name]) for name in inference.outputs]
        return {
            "model_name": model.name,
            "model_version": protocol.VERSION,
            "id": inference.id,
            "outputs": [
                {"name": n, "datatype": protocol.DATATYPES[t.dtype.name], "shape": t.shape}
                for n, t in tensors
            ],
            "raw_output_contents": [protocol.to_bytes(tensor) for _, tensor in tensors],
        }


def read_call(request: Any, metadata: Metadata) -> Inference:
    """Read a ModelInferRequest.

    Args:
        request: The message.
        metadata: Of the model.

    Raises:
        InputError: What is wrong with it.
    """
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InputError(
            f"raw_input_contents: got {len(raw)}, expected one for each of {len(request.inputs)} "
            "inputs"
        )
    given: dict[str, Any] = {}
    for number, tensor in enumerate(request.inputs):
        values = raw[number] if raw else _numbers(tensor, metadata)
        if given:
            raise InputError(f"inputs: '{protocol.INPUT}' is given twice")
        given[protocol.INPUT] = protocol.read_images(
            tensor.name, tensor.datatype, list(tensor.shape), values, metadata
        )
    names = [protocol.check_output(output.name) for output in request.outputs]
    timeout = request.parameters["timeout"].int64_param if "timeout" in request.parameters else None
    return Inference(
        protocol.only_input(given),
        dict.fromkeys(names or protocol.OUTPUTS, True),
        protocol.check_id(request.id),
        protocol.read_timeout(timeout or None),
    )


def _numbers(tensor: Any, metadata: Metadata) -> bytes:
    """Return an input's numbers as raw bytes; in pieces, for others to run between them."""
    dtype, contents = np.dtype(metadata.input_dtype), tensor.contents
    sent, numbers = (
        (np.float32, contents.fp32_contents)
        if dtype.kind == "f"
        else (np.uint32, contents.uint_contents)
    )
    pieces = []
    for at in range(0, len(numbers), protocol.SMALL):
        piece = np.array(numbers[at : at + protocol.SMALL], sent)
        if dtype.kind == "u" and piece.max() > np.iinfo(dtype).max:
            raise InputError(f"{protocol.INPUT}: contents: got {piece.max()}, expected {dtype}")
        pieces.append(piece.astype(dtype.newbyteorder("<")).tobytes())
    return b"".join(pieces)
