"""Metrics: what the service counts and measures, for Prometheus.

One object per service with a registry of its own, so that two services in one process do not mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from topseg.serve.refusal import Refusal

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Watched(Protocol):
    """What is read of a model."""

    @property
    def waiting(self) -> int:
        """Requests in its queue."""
        ...

    @property
    def workers(self) -> tuple[Any, ...]:
        """Its workers that run."""
        ...


class Metrics:
    """Everything at ``/metrics``."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Histogram(
            "topseg_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route", "status"),
            buckets=SECONDS,
            registry=registry,
        )
        self.stages = Histogram(
            "topseg_stage_seconds",
            "Time of one stage of one request; the network's is its whole batch's.",
            ("model", "stage"),
            buckets=SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "topseg_batch_images",
            "Images that the network had at once.",
            ("model",),
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self.queue = Gauge(
            "topseg_queue_requests", "Requests that wait.", ("model",), registry=registry
        )
        self.workers = Gauge(
            "topseg_workers_ready", "Worker processes that run.", ("model",), registry=registry
        )
        self.held = Gauge(
            "topseg_body_bytes", "Bytes of request bodies in memory.", registry=registry
        )
        self.refused = Counter(
            "topseg_refused", "Requests answered by an error.", ("reason",), registry=registry
        )
        self.restarts = Counter(
            "topseg_worker_restarts", "Workers that were replaced.", ("model",), registry=registry
        )

    def watch(self, models: Mapping[str, Watched]) -> None:
        """Read queues and workers whenever they are asked for.

        Args:
            models: By name; what is behind a name may change.
        """
        for name in models:
            self._watch(name, models)

    def _watch(self, name: str, models: Mapping[str, Watched]) -> None:
        self.queue.labels(name).set_function(lambda: models[name].waiting)
        self.workers.labels(name).set_function(lambda: len(models[name].workers))

    def count(self, route: str, status: int, refusal: Refusal | None, seconds: float) -> None:
        """Count one request that has been answered."""
        self.requests.labels(route, str(status)).observe(seconds)
        if refusal is not None:
            self.refused.labels(refusal.reason).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
