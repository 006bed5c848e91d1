"""Command of the service: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from topseg.cli.app import MASKS, app


@app.command(group=MASKS)
def serve(
    *models: str,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    grpc_port: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = (),
) -> int:
    """Answer requests for masks: a page, REST and gRPC (Open Inference Protocol v2).

    Args:
        models: MODEL or NAME=MODEL, one or more; the first answers where no name is given.
        config: A YAML file with any of the settings (docs/serving.md).
        host: Address to listen on; this machine alone (127.0.0.1) if not given.
        port: HTTP port; 8000 if not given.
        grpc_port: gRPC port; 8001 if not given.
        workers: Worker processes per model; as many as use all cores if not given.
        threads: CPU threads of each worker.
        set_: Any other setting, as key=value; may be repeated.
    """
    from topseg.serve.config import read_serve_config
    from topseg.serve.run import serve

    given = {
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "workers": workers,
        "threads": threads,
    }
    flags = {key: value for key, value in given.items() if value is not None}
    return serve(read_serve_config(config, models, set_, flags=flags))
