"""Connections: uvicorn's HTTP/1.1, which no client can hold up, flood or fill.

What h11 cannot read is refused as everything else: in JSON, logged and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import h11
import uvicorn
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from topseg.core.errors import InputError
from topseg.serve.http.guard import Guard, error_response, log_request, request_id
from topseg.serve.refusal import Refusal
from topseg.serve.service import Service

HEAD_BYTES: Final = 16 * 1024
"""Largest head of a request."""
FREE_CHUNKS: Final = 4096
"""Chunks of any size in a body; beyond them CHUNK_BYTES are the least on average."""
CHUNK_BYTES: Final = 1024
CROWD: Final = 32
"""Connections beyond the limit that still get an answer; further ones are cut."""


class HttpServer(uvicorn.Server):
    """Listens for HTTP and leaves signals to its owner.

    Attributes:
        guard: The application.
        service: Its limits, and what is counted.
    """

    def __init__(self, guard: Guard, service: Service, max_connections: int) -> None:
        """Prepare to listen.

        Args:
            guard: The application.
            service: Its limits, and what is counted.
            max_connections: Open connections.

        Raises:
            InputError: Certificate or key cannot be used.
        """
        config = service.config
        self.guard, self.service = guard, service
        self._max_connections = max_connections
        self._open: set[Connection] = set()
        super().__init__(
            uvicorn.Config(
                guard,
                http=H11Protocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                h11_max_incomplete_event_size=HEAD_BYTES,
                timeout_keep_alive=int(max(1, config.head_s)),
                timeout_graceful_shutdown=int(max(1, config.drain_s)),
                ssl_certfile=config.tls_cert,
                ssl_keyfile=config.tls_key,
            )
        )
        try:
            self.config.load()
        except OSError as error:
            raise InputError(f"tls_cert, tls_key: cannot be used ({error})") from None

    async def startup(self, sockets: Any = None) -> None:
        """Listen on sockets; TLS begins once a connection has been counted."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(self._connect, sock=one, backlog=1024) for one in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    def enter(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Count a connection; beyond the limit it gets short answers, far beyond it none."""
        if connection in self._open:  # by its TLS
            return
        self._open.add(connection)
        over = len(self._open) - self._max_connections
        if over > 0:
            connection.app = self.guard.crowded
        if over > CROWD:
            transport.abort()

    def leave(self, connection: Connection) -> None:
        """Stop counting a connection."""
        self._open.discard(connection)

    def _connect(self) -> asyncio.Protocol:
        connection = Connection(self)
        return _Handshake(connection, self) if self.config.ssl else connection


class Connection(H11Protocol):
    """A connection that a slow client cannot keep for ever."""

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _unsent = 0
    _chunks = 0
    _received = 0
    _early = b""
    _made = False

    def __init__(self, server: HttpServer) -> None:
        """Wait for a client of a server."""
        super().__init__(server.config, server.server_state, server.lifespan.state)
        self._owner = server
        self._next_event = self.conn.next_event
        self.conn.next_event = self._checked_event  # type: ignore[method-assign]

    def connection_made(self, transport: Any) -> None:
        """Start the time of the first request's head."""
        super().connection_made(transport)
        self._made = True
        self._owner.enter(self, transport)
        self._expect_head()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Start the time of every later head, at its first byte."""
        if not self._made:  # TLS stands, but this connection has not been told yet
            self._early += data
            return
        if self._head_timer is None and self._idle:
            self._expect_head()
        super().data_received(data)
        if not self._idle:
            self._forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._forget_head()
        self._forget_unread()
        self._owner.leave(self)
        if self._made:
            super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Hold the answer until its client reads, and check after a while that it does."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._forget_unread()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used, or whose client does not read its answer."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and (self._unsent == 0 or unsent < self._unsent):  # it reads, though slowly
            self._unsent = unsent
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif unsent:
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a refusal, and close."""
        refusal = Refusal(400, "request: not valid HTTP/1.1", reason="http")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(error_response({}, refusal))
            self.transport.close()
        else:  # in the middle of an answer, which cannot be completed
            self.transport.abort()
        self._owner.service.metrics.count("other", refusal.status, refusal, 0.0)
        log_request(request_id({}), "", "", refusal.status, 0.0, 0, refusal)

    def _send(self, response: Response) -> None:
        headers = [*response.raw_headers, (b"connection", b"close")]
        start = h11.Response(status_code=response.status_code, headers=headers)
        for event in (start, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def _checked_event(self) -> Any:
        """Return h11's next event, within limits that h11 does not have."""
        try:
            event = self._next_event()
        except ValueError:  # a number of more digits than Python converts
            raise h11.RemoteProtocolError("a number is too long") from None
        if isinstance(event, h11.Request):
            self._chunks = self._received = 0
            if sum(len(name) + len(value) for name, value in event.headers) > HEAD_BYTES:
                raise h11.RemoteProtocolError("the head is too long")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._received += len(event.data)
            if self._chunks > FREE_CHUNKS and self._received < CHUNK_BYTES * self._chunks:
                raise h11.RemoteProtocolError("the chunks are too small")
        return event

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _expect_reading(self) -> None:
        before = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(
            self.timeout_keep_alive, self._check_reading, before
        )

    def _check_reading(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._expect_reading()

    def _forget_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


class _Handshake(asyncio.Protocol):
    """Starts TLS on a connection that has been counted, and ends what does not shake hands."""

    def __init__(self, connection: Connection, server: HttpServer) -> None:
        self._connection = connection
        self._server = server
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        transport.pause_reading()  # TLS is to see the first byte
        self._server.enter(self._connection, transport)
        if not transport.is_closing():
            self._task = asyncio.get_running_loop().create_task(self._start(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.leave(self._connection)

    async def _start(self, transport: asyncio.Transport) -> None:
        seconds = self._server.config.timeout_keep_alive
        context = self._server.config.ssl
        assert context is not None
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport,
                self._connection,
                context,
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError:  # no TLS, or not in time
            self._server.leave(self._connection)
            transport.abort()
            return
        if secure is not None:
            self._connection.connection_made(secure)
