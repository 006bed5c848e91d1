"""Run: listen, serve until told to stop, then answer what was accepted and leave.

SIGTERM and SIGINT stop the service (twice: at once), SIGHUP reloads its models.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from topseg.core.errors import InputError
from topseg.inference.hub import open_model
from topseg.serve.config import ServeConfig
from topseg.serve.grpc.server import start_rpc
from topseg.serve.http.app import make_app
from topseg.serve.logs import log_json
from topseg.serve.service import Finder, Service
from topseg.serve.workers.worker import Opener

log = logging.getLogger("topseg.serve")


def serve(
    config: ServeConfig, *, find: Finder = open_model, open_engine: Opener | None = None
) -> int:
    """Serve until a signal says otherwise.

    Args:
        config: What and how.
        find: MODEL -> bundle.
        open_engine: Bundle -> runtime, called in the workers; None opens what the configuration
            names.

    Returns:
        The exit code.

    Raises:
        InputError: A model cannot be opened, or an address cannot be listened on.
    """
    log_json(config.log_level)
    service = Service(config, find, open_engine)
    with _listen(config) as listener:
        return asyncio.run(_serve(service, listener))


async def _serve(service: Service, listener: socket.socket) -> int:
    config, loop = service.config, asyncio.get_running_loop()
    server = _Server(_http(service))
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    rpc, rpc_port = None, None
    if config.grpc_port is not None:
        rpc, rpc_port = await start_rpc(service, f"{address}:{config.grpc_port}")
    stopping = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, number, stopping, service)
    reloads: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(service.reload())))
    fields = {"address": address, "port": port, "grpc_port": rpc_port}
    log.info("listening", extra={"fields": fields})
    serving = loop.create_task(server.serve([listener]))
    starting = loop.create_task(service.start())
    try:
        await asyncio.wait({serving, starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        service.draining = True
        log.info("draining")
        if stopping.done() and stopping.result() == signal.SIGTERM:
            await asyncio.wait({serving}, timeout=config.drain_delay_s)
    finally:
        starting.cancel()
        server.should_exit = True
        await asyncio.gather(serving, *([rpc.stop(config.drain_s)] if rpc else []))
        await service.close()
    log.info("stopped", extra={"fields": {"requests": server.server_state.total_requests}})
    return 0


def _http(service: Service) -> uvicorn.Config:
    config = service.config
    http = uvicorn.Config(
        make_app(service),
        http=_Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        h11_max_incomplete_event_size=16 * 1024,
        limit_concurrency=config.max_connections,
        timeout_keep_alive=int(max(1, config.head_s)),
        timeout_graceful_shutdown=int(max(1, config.drain_s)),
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
    )
    try:
        http.load()
    except OSError as error:
        raise InputError(f"tls_cert, tls_key: cannot be used ({error})") from None
    return http


def _stop(number: int, stopping: asyncio.Future[int], service: Service) -> None:
    """Begin to stop; at the second signal, end at once."""
    if not stopping.done():
        stopping.set_result(number)
        return
    for model in service.models.values():
        for worker in model.workers:
            worker.kill()
    os._exit(128 + number)


class _Server(uvicorn.Server):
    """A server that leaves signals to its owner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """A connection that a slow client cannot keep for ever."""

    _head_timer: asyncio.TimerHandle | None = None
    _unsent = 0

    def connection_made(self, transport: Any) -> None:
        """Give the first request's head its time."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Give every later head its time too, from its first byte on."""
        if self._head_timer is None and self._idle:
            self._expect_head()
        super().data_received(data)
        if not self._idle:
            self._forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._forget_head()
        super().connection_lost(exc)

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

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _listen(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=1024)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python repeats the address there
        raise InputError(
            f"{config.host}:{config.port}: cannot listen here ({reason}); choose another host "
            "or port"
        ) from None
