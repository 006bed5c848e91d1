"""App: the HTTP side of the service. Each route reads, delegates and answers.

For people ``POST /segment``, the page and ``/docs``; for programs the Open Inference Protocol below
``/v2``; for operations ``/v2/health/live``, ``/v2/health/ready`` and ``/metrics``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from topseg import __version__
from topseg.core.errors import InputError
from topseg.media.regions import Shapes
from topseg.serve import protocol
from topseg.serve.header import FORMATS
from topseg.serve.http.bodies import find_image, unpack
from topseg.serve.http.docs import render
from topseg.serve.http.guard import HEALTH, Guard, error_response
from topseg.serve.numbers import Numbers
from topseg.serve.page.site import Site
from topseg.serve.refusal import Refusal, shown
from topseg.serve.service import Service
from topseg.serve.workers.pipeline import CONTENT_TYPES, Output, Segment, Tensors

T = TypeVar("T")

Timeout = Annotated[float | None, Header(description="Seconds for the answer.", gt=0)]
SMALL_BODY: Final = 2**18
"""Bytes of a form or of JSON that are parsed in a moment; more in a thread."""
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_FORM: Final = {
    "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
}


def make_app(service: Service) -> Guard:
    """Make the application.

    Args:
        service: What answers. To start and close it is the caller's part.
    """
    site = Site(service)
    app = FastAPI(
        title="topseg",
        version=__version__,
        summary="Semantic segmentation: an image in, a mask out.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(site),
    )
    _add_health(app, service)
    _add_inference(app, service)
    _add_segment(app, service)
    _add_site(app, site)
    _add_errors(app)
    if service.config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.config.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID", "X-Request-Timeout"],
            expose_headers=["Server-Timing", "X-Request-ID", "Retry-After"],
        )
    return Guard(app, service, lambda path: path in HEALTH or site.has(path))


def _lifespan(site: Site) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(site.has, "")  # collects the page's files
        yield

    return lifespan


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/v2/health/live", tags=["health"])
    async def live() -> dict[str, bool]:
        """Report that the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready", tags=["health"])
    async def ready() -> JSONResponse:
        """Report whether every model is warm and the service is to stay (200, else 503)."""
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Return the measurements in Prometheus' text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_inference(app: FastAPI, service: Service) -> None:
    @app.get("/v2", tags=["inference"])
    async def server() -> dict[str, Any]:
        """Describe the server."""
        return protocol.server_metadata()

    @app.get("/v2/models/{name}/versions/{version}", tags=["inference"], include_in_schema=False)
    @app.get("/v2/models/{name}", tags=["inference"])
    async def metadata(name: str, version: str = "") -> dict[str, Any]:
        """Describe a model: its input and its outputs."""
        model = service.model(name, version)
        return protocol.model_metadata(model.name, model.bundle.metadata)

    @app.get("/v2/models/{name}/versions/{version}/ready", include_in_schema=False)
    @app.get("/v2/models/{name}/ready", tags=["health"])
    async def model_ready(name: str, version: str = "") -> JSONResponse:
        """Report whether a model is warm (200, else 503)."""
        ready = service.model(name, version).ready
        return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)

    kinds = {
        "application/json": {"schema": {"type": "object"}},
        "application/octet-stream": _BINARY,
    }
    body = {"requestBody": {"required": True, "content": kinds}}

    @app.post("/v2/models/{name}/versions/{version}/infer", include_in_schema=False)
    @app.post("/v2/models/{name}/infer", tags=["inference"], openapi_extra=body)
    async def infer(
        request: Request, name: str, version: str = "", x_request_timeout: Timeout = None
    ) -> Response:
        """Run the network on images of its size, (B, H, W, C): logits, masks or both.

        The body is the Open Inference Protocol's: JSON, which binary tensors may follow; then the
        header Inference-Header-Content-Length says where they begin.
        """
        data = await _body(request, service)
        model = service.model(name, version)
        length = request.headers.get("inference-header-content-length")
        if length is not None and not (length.isdecimal() and len(length) < 12):
            raise InputError(f"Inference-Header-Content-Length: got {shown(length)}")
        header_length = int(length) if length else None
        given = (data, header_length, model.bundle.metadata)
        if (header_length or len(data)) <= SMALL_BODY:
            inference = protocol.read_request(*given)
        else:
            inference = await service.in_thread(protocol.read_request, *given)
        if isinstance(inference.images, Numbers):
            request.scope["topseg.take"](len(inference.images.text))
        times = [t for t in (inference.seconds, x_request_timeout) if t is not None]
        task = Tensors(inference.images, tuple(inference.outputs))
        work = service.infer(model, task, min(times, default=None))
        answer = await _while_wanted(request, work)
        parts = (model.name, inference, answer.tensors)
        if sum(tensor.size for tensor in answer.tensors.values()) <= protocol.PIECE:
            content, header = protocol.write_response(*parts)
        else:
            content, header = await service.in_thread(protocol.write_response, *parts)
        request.scope["topseg.take"](len(content))
        response = Response(content, media_type="application/json")
        if header is not None:
            response.headers["Content-Type"] = "application/octet-stream"
            response.headers["Inference-Header-Content-Length"] = str(header)
        response.headers["Server-Timing"] = _timing(answer.stages)
        return response


def _add_segment(app: FastAPI, service: Service) -> None:
    answers = {kind: _BINARY for kind in ("image/png", "image/jpeg")} | {"application/json": {}}
    bodies = {kind: _BINARY for kind in FORMATS} | {"multipart/form-data": _FORM}

    @app.post(
        "/segment",
        tags=["people"],
        response_class=Response,
        responses={200: {"content": answers, "description": "The mask."}},
        openapi_extra={"requestBody": {"required": True, "content": bodies}},
    )
    async def segment(
        request: Request,
        model: Annotated[str | None, Query(description="Name; the first if not given.")] = None,
        output: Annotated[
            Output | None,
            Query(
                description="mask: index PNG with palette; overlay: JPEG; color: PNG; json. If not "
                "given, Accept says it: image/png, image/jpeg (overlay) or application/json."
            ),
        ] = None,
        alpha: Annotated[float, Query(description="Colour in an overlay.", ge=0, le=1)] = 0.5,
        shapes: Annotated[
            Shapes, Query(description="How JSON says where a class is: COCO's run lengths ...")
        ] = "rle",
        x_request_timeout: Timeout = None,
    ) -> Response:
        """Make a mask of an image, at the image's own size.

        The image is the body itself (JPEG, PNG or WebP) or a file in a form.
        """
        data, kind = await _body(request, service), request.headers.get("content-type", "")
        if len(data) > SMALL_BODY and kind[:10].lower() == "multipart/":
            data = await service.in_thread(find_image, data, kind)
        else:
            data = find_image(data, kind)
        output = output or _accepted(request.headers.get("accept", ""))
        work = service.segment(model, Segment(data, output, alpha, shapes), x_request_timeout)
        answer = await _while_wanted(request, work)
        request.scope["topseg.take"](len(answer.body))
        timing = {"Server-Timing": _timing(answer.stages)}
        return Response(answer.body, media_type=CONTENT_TYPES[output], headers=timing)


def _add_site(app: FastAPI, site: Site) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(render(app.openapi()))

    @app.get("/{address:path}", include_in_schema=False)
    async def page(request: Request, address: str) -> Response:
        for route in app.routes:  # an address that another method answers
            if route.matches({**request.scope, "method": "POST"})[0] is Match.FULL:
                raise HTTPException(405, headers={"Allow": "POST"})
        return await asyncio.to_thread(site.answer, address)


def _add_errors(app: FastAPI) -> None:
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return error_response(request.scope, error)

    async def explain(request: Request, error: Exception) -> Response:
        return error_response(request.scope, Refusal(400, str(error), reason="input"))

    async def explain_arguments(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        message = f"{first['loc'][-1]}: {first['msg']}"
        return error_response(request.scope, Refusal(400, message, reason="input"))

    async def explain_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path[:200]}: {error.detail}; see /docs"
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        refusal = Refusal(error.status_code, message, reason="route", headers=headers)
        return error_response(request.scope, refusal)

    async def fail(request: Request, error: Exception) -> Response:
        message = "internal error; see the server log"  # Starlette raises the error once more
        return error_response(request.scope, Refusal(500, message, reason="fault"))

    async def forget(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_exception_handler(Refusal, refuse)
    app.add_exception_handler(InputError, explain)
    app.add_exception_handler(RequestValidationError, explain_arguments)
    app.add_exception_handler(HTTPException, explain_route)
    app.add_exception_handler(Exception, fail)
    app.add_exception_handler(ClientDisconnect, forget)


async def _body(request: Request, service: Service) -> bytes:
    body, encoding = await request.body(), request.headers.get("content-encoding", "")
    if not encoding:
        return body
    limit, take = service.config.max_request_bytes, request.scope["topseg.take"]
    return await service.in_thread(unpack, body, encoding, limit, take)


async def _while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for an answer as long as the client does; then the work is cancelled."""
    answer = asyncio.ensure_future(work)
    left = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        answer.cancel()
        left.cancel()


def _accepted(accept: str) -> Output:
    if "application/json" in accept:
        return "json"
    return "overlay" if "image/jpeg" in accept and "image/png" not in accept else "mask"


def _timing(stages: dict[str, float]) -> str:
    return ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in stages.items())
