"""Cluster: the executor of many machines, by Ray Data.

Images stay where they are: paths travel to the workers and lines for the manifest travel back. So
the model, the images and the output folder have to be on a file system that all machines share. A
worker is an actor that opens the model once. Where one is lost, Ray gives its block to another;
doing an image twice gives the same files.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from topseg.bundle.metadata import Metadata
from topseg.core.errors import InputError
from topseg.inference.bulk.jobs import Job
from topseg.inference.bulk.manifest import Line, fingerprint
from topseg.inference.bulk.outputs import OutputSpec, predict_one
from topseg.inference.predictor import Predictor

_BLOCK = 256
"""Images a block at most: what a worker takes at a time, and what a lost driver does again."""

_PATIENCE = 10.0


class RayCluster:
    """Workers on a Ray cluster; a context manager.

    Attributes:
        metadata: Of the model.
        fingerprint: Of the model.
    """

    metadata: Metadata
    fingerprint: str

    def __init__(
        self,
        open_predictor: Callable[[], Predictor],
        *,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 1,
        cuda: bool = False,
    ) -> None:
        """Join a cluster and open the model on it once, to see that it can be.

        Args:
            open_predictor: Opens the model on a worker; travels by pickle.
            address: The cluster's, as for ``ray.init``; None takes RAY_ADDRESS, else
                starts one on this machine.
            workers: At most how many; None for one on every GPU, or as many as the CPUs allow.
            threads: CPUs of each.
            cuda: Whether each needs a share of a GPU; several share one where there are more
                workers than GPUs.

        Raises:
            InputError: There is no such cluster, it has no GPU, or the model cannot be opened.
        """
        import ray
        import ray.data

        self._ray = ray
        # Said outright: left to itself Ray would also look for a cluster of this machine's, and
        # wait long for one that is gone.
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        try:
            _check_listening(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            what = str(error).strip().partition("\n")[0]
            raise InputError(f"ray: cannot join {address} ({what})") from None
        try:
            self._open = open_predictor
            self._needs, self._workers = _share(workers, threads, cuda)
            probe = ray.remote(**self._needs)(_describe)
            found = ray.get(probe.remote(open_predictor))
            if isinstance(found, str):
                raise InputError(found)
            self.metadata, self.fingerprint = found
        except BaseException:
            ray.shutdown()
            raise

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, jobs: Sequence[Job], spec: OutputSpec) -> Iterator[Line]:
        """Do jobs block by block, and yield their lines as blocks come back."""
        if not jobs:
            return
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        size = min(_BLOCK, math.ceil(len(jobs) / (4 * self._workers)))
        blocks = [_table(jobs[at : at + size]) for at in range(0, len(jobs), size)]
        lines = data.from_arrow(blocks).map_batches(
            _Worker,
            fn_constructor_args=(self._open, spec._replace(out=spec.out.absolute())),
            compute=data.ActorPoolStrategy(min_size=1, max_size=self._workers),
            batch_size=None,
            **self._needs,
        )
        for row in lines.iter_rows():
            line = json.loads(row["line"])
            if "stop" in line:
                raise InputError(line["stop"])
            yield line


class _Worker:
    """An actor: the model, opened once."""

    def __init__(self, open_predictor: Callable[[], Predictor], spec: OutputSpec) -> None:
        self._predictor = open_predictor()
        self._spec = spec

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(block["image"], block["output"], strict=True)
        lines = [self._predict(os.fsdecode(image), os.fsdecode(output)) for image, output in pairs]
        return {"line": np.array([json.dumps(line) for line in lines])}

    def _predict(self, image: str, output: str) -> Line:
        try:
            line = predict_one(self._predictor, Job(image, output), self._spec)
        except InputError as error:  # as a line: Ray would wrap it in tracebacks and try again
            return {"stop": str(error)}
        return line


def _check_listening(address: str) -> None:
    """Check that something listens: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _PATIENCE).close()


def _describe(open_predictor: Callable[[], Predictor]) -> tuple[Metadata, str] | str:
    """Open the model; return what the driver needs to know of it, or why it cannot be opened."""
    try:
        predictor = open_predictor()
    except InputError as error:
        return str(error)
    return predictor.runtime.metadata, fingerprint(predictor)


def _table(jobs: Sequence[Job]) -> Any:
    """As bytes: a path need not be UTF-8."""
    import pyarrow as pa

    columns = {
        "image": [os.fsencode(Path(job.image).absolute()) for job in jobs],
        "output": [os.fsencode(job.output) for job in jobs],
    }
    return pa.table({name: pa.array(values, pa.binary()) for name, values in columns.items()})


def _share(workers: int | None, threads: int, cuda: bool) -> tuple[dict[str, float], int]:
    """What each worker takes of the cluster, and how many there may be."""
    import ray

    has = ray.cluster_resources()
    if not cuda:
        most = max(1, int(has.get("CPU", 1) // threads))
        return {"num_cpus": threads}, workers or most
    gpus = int(has.get("GPU", 0))
    if not gpus:
        raise InputError("device cuda: the cluster has no GPU; take --device cpu")
    workers = workers or gpus
    return {"num_cpus": threads, "num_gpus": 1 / math.ceil(workers / gpus)}, workers
