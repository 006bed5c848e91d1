"""gRPC: the Open Inference Protocol's calls, answered by the same service as REST."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from topseg.core.errors import InputError
from topseg.serve import protocol
from topseg.serve.grpc.messages import SERVICE, calls
from topseg.serve.http.guard import Keys, log_request, request_id
from topseg.serve.protocol import Inference
from topseg.serve.refusal import Refusal
from topseg.serve.service import Service
from topseg.serve.workers.pipeline import Tensors

log = logging.getLogger("topseg.serve")

_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_OPEN: Final = frozenset({"ServerLive", "ServerReady", "ModelReady"})
"""Calls that need no key."""


async def start_rpc(service: Service, address: str) -> tuple[grpc.aio.Server, int]:
    """Listen.

    Args:
        service: What answers.
        address: Host and port.

    Returns:
        The server, and the port it listens on.

    Raises:
        InputError: The address cannot be listened on.
    """
    config = service.config
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", config.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=len(service.models) * (config.queue + config.worker_count) + 16,
    )
    answers = Calls(service)
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
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
    """One method a call; a refusal becomes the status that means the same."""

    def __init__(self, service: Service) -> None:
        """Answer for a service."""
        self._service = service
        self._keys = Keys(service.config.api_keys)

    def handler(self, name: str) -> Callable[[bytes, Any], Awaitable[Any]]:
        """Give the handler of one call, from a request's bytes to a response."""
        answer: Callable[[Any, Any], Awaitable[dict[str, Any]]] = getattr(self, f"_{name}")
        request_class, response_class = calls()[name]

        async def handle(body: bytes, context: Any) -> Any:
            start, status, refusal = time.perf_counter(), 200, None
            metadata = dict(context.invocation_metadata() or ())
            try:
                if name not in _OPEN:
                    self._keys.check(str(metadata.get("authorization", "")))
                return response_class(**await answer(request_class.FromString(body), context))
            except Refusal as refused:
                refusal = refused
            except InputError as error:
                refusal = Refusal(400, str(error), reason="input")
            except DecodeError:
                refusal = Refusal(400, f"request: no {name}Request of the protocol", reason="input")
            except asyncio.CancelledError:
                status = 499  # the client left
                raise
            except Exception:
                log.exception("call failed")
                refusal = Refusal(500, "internal error; the log has more", reason="fault")
            finally:
                status = refusal.status if refusal else status
                seconds = time.perf_counter() - start
                self._service.metrics.count(f"grpc {name}", status, refusal, seconds)
                log_request(request_id(metadata), "grpc", name, status, seconds, len(body), refusal)
            await context.abort(_CODES[refusal.status], refusal.message)

        return handle

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
        inference = _read(request, model.bundle.metadata)
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


def _read(request: Any, metadata: Any) -> Inference:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InputError(
            f"raw_input_contents: got {len(raw)}, expected one for each of {len(request.inputs)} "
            "inputs"
        )
    given = {}
    for number, tensor in enumerate(request.inputs):
        values = raw[number] if raw else list(tensor.contents.uint_contents)
        shape = list(tensor.shape)
        given[tensor.name] = protocol.read_images(
            tensor.name, tensor.datatype, shape, values, metadata
        )
    names = [output.name for output in request.outputs] or protocol.OUTPUTS
    timeout = request.parameters["timeout"].int64_param if "timeout" in request.parameters else None
    return Inference(
        protocol.only_input(given),
        protocol.check_outputs(dict.fromkeys(names, True)),
        request.id,
        protocol.read_timeout(timeout or None),
    )
