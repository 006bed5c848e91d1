"""Guard: what every HTTP request passes before and after the application.

Names, keys, bounded bodies in bounded time, request ids, one log line and one measurement per
request. Plain ASGI, so that nothing is buffered twice and a client that leaves is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from topseg.serve.memory import Share
from topseg.serve.refusal import Refusal, connections_full, shown, too_large
from topseg.serve.service import Service

log = logging.getLogger("topseg.serve")

_REQUEST_ID: Final = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
HEALTH: Final = frozenset({"/v2/health/live", "/v2/health/ready"})
_PROBES: Final = HEALTH | {"/metrics"}
PART_BYTES: Final = 2**18
"""An answer is sent in parts, the next one when the client has read most of this one."""
LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused body is read, so that its sender gets to see the answer."""


class Keys:
    """The keys that a request may bring."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Store the keys; none: every request may pass."""
        self._keys = [key.encode() for key in keys]

    def check(self, authorization: str) -> None:
        """Check a request's key, in a time that does not depend on how near a wrong key is.

        Raises:
            Refusal: No key, or a wrong one.
        """
        given = re.sub("(?i)^bearer +", "", authorization).encode()
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if self._keys and not any(matches):
            message = "this service asks for a key: 'Authorization: Bearer KEY'"
            raise Refusal(401, message, reason="key")


def check_host(host: str, allowed: Iterable[str]) -> None:
    """Check the name by which a request calls the service; a page that rebinds its own name errs.

    Args:
        host: The header, with or without a port.
        allowed: Names; ``*.example.org`` stands for all below it, ``*`` for any.

    Raises:
        Refusal: None of them.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if not any(fnmatchcase(name, pattern.lower()) for pattern in allowed):
        message = f"Host: this service is not {shown(host)}; the setting 'hosts' names it"
        raise Refusal(400, message, reason="host")


class Guard:
    """The outermost layer around an application."""

    def __init__(self, app: ASGIApp, service: Service, is_open: Callable[[str], bool]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            service: Its limits, and what is counted.
            is_open: Whether a path needs no key.
        """
        self._app = app
        self._service = service
        self._is_open = is_open
        self._keys = Keys(service.config.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self._service, scope, receive, send)
        scope = exchange.scope
        try:
            if scope.get("topseg.crowded") and scope["path"] not in HEALTH:
                raise connections_full(math.ceil(self._service.config.head_s))
            check_host(exchange.headers.get("host", ""), self._service.config.allowed_hosts)
            if scope["method"] != "OPTIONS" and not self._is_open(scope["path"]):
                self._keys.check(exchange.headers.get("authorization", ""))
            exchange.check_length()
            await self._app(scope, exchange.receive, exchange.send)
        except Refusal as refusal:
            if exchange.status is None:
                await error_response(scope, refusal)(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("request failed", extra={"fields": {"request_id": exchange.id}})
            if exchange.status is None:
                fault = Refusal(
                    500,
                    f"internal error; see the server log (request id {exchange.id})",
                    reason="fault",
                )
                await error_response(scope, fault)(scope, exchange.receive, exchange.send)
        finally:
            exchange.end()

    async def crowded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request on a connection beyond the limit: health only."""
        await self({**scope, "topseg.crowded": True}, receive, send)


def error_response(scope: Scope, refusal: Refusal) -> JSONResponse:
    """Return a refusal as ``{"error": "..."}``, and remember it for the log."""
    scope["topseg.refusal"] = refusal.with_traceback(None)  # whose frames hold the body
    headers = {**refusal.headers}
    if refusal.retry_after:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": refusal.message}, refusal.status, headers)


def request_id(headers: Mapping[str, str]) -> str:
    """Return a request's own id, if it is one that a log can hold, or a new one."""
    asked = str(headers.get("x-request-id", ""))
    return asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex


def log_request(
    identity: str,
    method: str,
    path: str,
    status: int,
    seconds: float,
    size: int,
    refusal: Refusal | None,
) -> None:
    """Write the one line that every request has in the log."""
    fields = {
        "request_id": identity,
        "method": method,
        "path": path[:200],
        "status": status,
        "ms": round(1000 * seconds, 1),
        "bytes": size,
    }
    if refusal is not None:
        fields |= {"reason": refusal.reason, "error": refusal.message}
    log.info("request", extra={"fields": fields})


class _Exchange:
    """One request and its answer.

    Attributes:
        scope: What the application gets; it sees HEAD as GET.
        headers: Of the request.
        id: Of the request.
        status: Of the answer; None: there is none yet.
    """

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = Headers(scope=scope)
        self.id = request_id(self.headers)
        self.status: int | None = None
        self._method = scope["method"]
        self._share = Share(service.memory)
        method = "GET" if self._method == "HEAD" else self._method
        self.scope = {**scope, "method": method, "topseg.take": self._share.take}
        self._service = service
        self._receive = receive
        self._send = send
        self._start = time.perf_counter()
        self._deadline = asyncio.get_running_loop().time() + service.config.body_s
        self._size = 0
        self._framed = {"content-length", "transfer-encoding"} & set(self.headers)
        self._whole = not self._framed

    def check_length(self) -> None:
        """Check a body's length as stated, before any of it is read."""
        if len(self._framed) == 2:  # two lengths: what one program takes for a body ...
            message = "Content-Length and Transfer-Encoding: send one of them"
            raise Refusal(400, message, reason="http")  # ... is a request to another
        stated, limit = self.headers.get("content-length", "0"), self._service.config
        if int(stated) > limit.max_request_bytes:  # the server has checked that it is a number
            raise self._too_large()

    async def receive(self) -> Message:
        """Receive a part of the body, within the limits of size and time."""
        if self._whole:
            return await self._receive()  # which waits for the client to leave
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            seconds = self._service.config.body_s
            message_text = f"the body did not arrive within {seconds:g} s"
            raise Refusal(408, message_text, reason="slow_client") from None
        part = len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        self._size += part
        self._share.take(part)
        if self._size > self._service.config.max_request_bytes:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if not self._whole and self.status >= 400 and self.status != 408:
                await self._linger()
            if self._service.draining or not self._whole or len(self._framed) == 2:
                headers["Connection"] = "close"
            if self.scope.get("topseg.crowded"):
                headers["Connection"] = "close"
            headers["X-Request-ID"] = self.id
            for name, value in _SAFE.items():
                headers[name] = value
        body = message.get("body", b"")
        if self._method == "HEAD":
            message = {**message, "body": b""} if body else message
        elif len(body) > PART_BYTES:
            for at in range(0, len(body), PART_BYTES):
                part = body[at : at + PART_BYTES]
                await self._send({**message, "body": part, "more_body": True})
            message = {**message, "body": b""}
        await self._send(message)

    def end(self) -> None:
        """Release body and answer, measure and log."""
        self._share.close()
        seconds = time.perf_counter() - self._start
        route = getattr(self.scope.get("route"), "path", "other")
        refusal: Refusal | None = self.scope.get("topseg.refusal")
        status = self.status or 499  # the client left before there was an answer
        self._service.metrics.count(route, status, refusal, seconds)
        if status >= 400 or route not in _PROBES:
            path = self.scope["path"]
            log_request(self.id, self._method, path, status, seconds, self._size, refusal)

    async def _linger(self) -> None:
        """Read the rest of a body: closing before its sender is done would hide the answer."""
        left = self._service.config.max_request_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._whole and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._whole = not message.get("more_body", False)

    def _too_large(self) -> Refusal:
        return too_large("request body", f"{self._service.config.max_request_bytes} bytes")
