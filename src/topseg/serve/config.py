"""Configuration of the service: a YAML file, the environment and flags, each above the other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT, Tree, build, override, parse_override, read_yaml
from topseg.core.errors import InputError, did_you_mean
from topseg.core.paths import Anchor, ModelPath, anchor
from topseg.core.ranges import Natural

PREFIX = "TOPSEG_SERVE_"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServeConfig:
    """All settings of a service."""

    models: dict[str, ModelPath] = field(default_factory=dict)
    """Name in addresses: MODEL. The first one answers where no name is given."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine's."""
    port: Port = 8000
    """HTTP port; 0 takes a free one."""
    grpc_port: Port | None = 8001
    """gRPC port; 0 takes a free one, null turns gRPC off."""
    runtime: str = "auto"
    """Engine that runs the network, as for `--runtime` of the commands."""
    device: str = "auto"
    """Where the network runs: auto, cpu, cuda."""
    workers: Natural | None = None
    """Worker processes per model; null: one for every `threads` processors, at most 8."""
    threads: Natural = 1
    """CPU threads of each worker."""
    max_batch: Natural = 1
    """Images that the network gets at once. On a CPU batches save nothing; on a GPU take 8."""
    max_wait_ms: Annotated[float, Field(ge=0)] = 0.0
    """How long a request may be kept back for others to join its batch. At 0 batches form only
    while all workers are busy."""
    queue: Natural = 64
    """Requests per model that may wait; more are refused by 503."""
    deadline_s: Seconds = 30.0
    """Longest time for an answer; a request can ask for less."""
    worker_seconds: Seconds = 30.0
    """A worker that takes longer for a batch is killed and replaced, whatever it hangs in."""
    max_request_bytes: Natural = 32 * 2**20
    """Largest request body, as sent and unpacked, and largest gRPC message."""
    max_held_bytes: Natural = 512 * 2**20
    """What all requests hold together: bodies as sent and unpacked, messages, answers until they
    are sent; more is refused by 503."""
    max_pixels: Natural = 25_000_000
    """Largest image, height times width, that is decoded."""
    max_batch_pixels: Natural = 2048 * 2048
    """Network pixels in one batch, and in one request of tensors."""
    head_s: Seconds = 10.0
    """Time for a request's head or a TLS handshake to arrive, for a kept connection to be used
    again, and for a client to read some of its answer."""
    body_s: Seconds = 30.0
    """Time for a request's body, or a gRPC call's message, to arrive."""
    max_connections: Natural = 1000
    """Open connections per port; more are refused by 503 (health is answered). Fewer where the
    process may open fewer files ('ulimit -n')."""
    api_keys: tuple[str, ...] = ()
    """Keys, one of which every request must bring as 'Authorization: Bearer KEY'; none: no keys.
    Health and the page's own files need none."""
    hosts: tuple[str, ...] | None = None
    """Names that clients may call this service by (the Host header), also '*.example.org'; null:
    localhost, 127.0.0.1 and ::1 while it listens on one of them, else any."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other web pages that may use this service; none: no other page may."""
    tls_cert: Annotated[Path, Anchor()] | None = None
    """Certificate chain (PEM), for https and gRPC with TLS."""
    tls_key: Annotated[Path, Anchor()] | None = None
    """Its private key (PEM)."""
    page: bool = True
    """Whether the page answers at '/'. It hands out the models' graphs, for the browser to run,
    unless there are API keys."""
    drain_delay_s: Annotated[float, Field(ge=0)] = 1.0
    """After SIGTERM: how long requests are still taken while 'ready' says no."""
    drain_s: Seconds = 30.0
    """After that: how long accepted requests may take to be answered."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InputError("tls_cert: only together with tls_key; give both or none")
        if any(len(key) < 8 for key in self.api_keys):  # which is not shown
            raise InputError("api_keys: a key is too short to be one; give 8 characters or more")
        if not all(re.fullmatch(r"[!-~]+", key) for key in self.api_keys):
            raise InputError(
                "api_keys: a key has characters that no request header can hold; take letters, "
                "digits and marks of ASCII, without spaces"
            )
        for name in self.models:
            if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
                raise InputError(
                    f"models: got the name '{name}', expected letters of ASCII, digits, '.', '_', "
                    "'-'; give another one, as in 'topseg serve NAME=MODEL'"
                )

    @property
    def worker_count(self) -> int:
        """Worker processes per model."""
        return self.workers or max(1, min(8, _processors() // self.threads))

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Names in the Host header that are answered."""
        return self.hosts or (LOOPBACK if self.host in LOOPBACK else ("*",))


def read_serve_config(
    file: Path | None = None,
    models: Sequence[str] = (),
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] = MappingProxyType({}),
) -> ServeConfig:
    """Read a service's configuration; flags win over the environment, and that over the file.

    Args:
        file: YAML; paths in it are relative to its folder.
        models: MODEL or NAME=MODEL; they replace those of file and environment. Without a name a
            model has that of its folder.
        overrides: ``key=value`` assignments, as in ``port=9000``.
        environment: ``TOPSEG_SERVE_PORT=9000`` is ``port=9000``.
        flags: Settings by name, as values.

    Raises:
        InputError: Everything that is wrong, one line each.
    """
    tree = {} if file is None else anchor(ServeConfig, read_yaml(file), file.resolve().parent)
    where = str(file) if file is not None else "serve"
    known = ServeConfig.__dataclass_fields__
    for variable, value in sorted(environment.items()):
        if variable.startswith(PREFIX):
            key = variable.removeprefix(PREFIX).lower()
            if key not in known:
                names = [PREFIX + name.upper() for name in known]
                raise InputError(f"{variable}: unknown variable{did_you_mean(variable, names)}")
            tree = _with_texts(tree, [f"{key}={value}"])
    tree = {**_with_texts(tree, overrides), **flags}
    if models:
        tree["models"] = _named(models)
    config = build(ServeConfig, tree, where)
    if not config.models:
        raise InputError("models: none given; name one, as in 'topseg serve MODEL'")
    return config


def _with_texts(tree: Tree, assignments: Sequence[str]) -> Tree:
    """Apply assignments whose values are texts until the schema gives them their types."""
    return override(tree, assignments, [parse_override(one, texts=True) for one in assignments])


def _named(models: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for given in models:
        name, equals, model = given.partition("=")
        if not equals:
            name, model = Path(given).resolve().name, given
        if name in named:
            raise InputError(
                f"models: two are called '{name}'; name one, as in 'topseg serve {name}2={model}'"
            )
        named[name] = model
    return named


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
