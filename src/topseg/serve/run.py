"""Run: listen, serve until told to stop, then answer what was accepted and leave.

SIGTERM and SIGINT stop the service (twice: at once), SIGHUP reloads its models.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from typing import Final

from topseg.core.errors import InputError
from topseg.core.terminal import say
from topseg.inference.hub import open_model
from topseg.serve.config import ServeConfig
from topseg.serve.grpc.server import start_rpc
from topseg.serve.http.app import make_app
from topseg.serve.http.connection import HttpServer
from topseg.serve.logs import log_json
from topseg.serve.service import Service
from topseg.serve.workers.worker import Opener

log = logging.getLogger("topseg.serve")

SPARE_FILES: Final = 128
"""Descriptors for everything but connections and workers: the log, the listeners, files read."""
WORKER_FILES: Final = 8
"""Descriptors for each worker, and its successor while it starts."""


def serve(config: ServeConfig, *, open_engine: Opener | None = None) -> int:
    """Serve until a signal says otherwise.

    Args:
        config: What and how.
        open_engine: Bundle -> runtime, called in the workers; None opens what the configuration
            names.

    Returns:
        The exit code.

    Raises:
        InputError: A model cannot be opened, or an address cannot be listened on.
    """
    log_json(config.log_level)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines are no JSON
    service = Service(config, open_model, open_engine)
    with _listen(config) as listener:
        return asyncio.run(_serve(service, listener))


async def _serve(service: Service, listener: socket.socket) -> int:
    # Both listeners, before any worker is started: an address in use is told at once.
    config, loop = service.config, asyncio.get_running_loop()
    connections = connection_limit(config)
    server = HttpServer(make_app(service), service, connections)
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    rpc, rpc_port = None, None
    if config.grpc_port is not None:
        at = f"{address}:{config.grpc_port}"
        rpc, rpc_port = await start_rpc(service, at, connections)
    # The signals.
    stopping = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, number, stopping, service)
    reloads: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly

    def reload() -> None:
        reloads.add(task := loop.create_task(service.reload()))
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    # Serve (health first, requests once the models are warm) until told to stop, then drain.
    fields = {"address": address, "port": port, "grpc_port": rpc_port}
    log.info("listening", extra={"fields": fields})
    if sys.stderr.isatty():  # elsewhere both outputs are for machines
        say(where_to_look(address, port, rpc_port, tls=config.tls_cert is not None))
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


def where_to_look(address: str, port: int, rpc_port: int | None, *, tls: bool = False) -> str:
    """Return the addresses for a person, in one line.

    Args:
        address: That is listened on.
        port: Of HTTP.
        rpc_port: Of gRPC; None: it is off.
        tls: Whether the service has a certificate.
    """
    anywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # which no browser opens
    address = anywhere.get(address, address)
    rpc = "" if rpc_port is None else f"; gRPC: {address}:{rpc_port}"
    url = f"{'https' if tls else 'http'}://{address}:{port}"
    return f"look at {url}/ (requests: {url}/docs, figures: {url}/metrics{rpc}); Ctrl-C stops it"


def connection_limit(config: ServeConfig) -> int:
    """Return how many connections a port may have, which the process's descriptors allow as well.

    Raises:
        InputError: The process may open too few files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return config.max_connections
    ports = 1 if config.grpc_port is None else 2
    workers = WORKER_FILES * config.worker_count * len(config.models)
    limit = min(config.max_connections, (soft - SPARE_FILES - workers) // ports)
    if limit < 1:
        raise InputError(f"this process may open {soft} files, which is too few; raise 'ulimit -n'")
    if limit < config.max_connections:
        fields = {"max_connections": config.max_connections, "allowed": limit, "files": soft}
        log.warning("fewer connections: raise 'ulimit -n'", extra={"fields": fields})
    return limit


def _stop(number: int, stopping: asyncio.Future[int], service: Service) -> None:
    """Begin to stop; at the second signal, end at once."""
    if not stopping.done():
        stopping.set_result(number)
        return
    for model in service.models.values():
        for worker in model.workers:
            worker.kill()
    os._exit(128 + number)


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
