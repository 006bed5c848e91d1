"""Refusals: requests that are not served, each with its status, its reason and what to do."""

from __future__ import annotations


class Refusal(Exception):
    """A request is answered by an error.

    Attributes:
        status: HTTP status.
        message: One line for the caller.
        reason: A word for the metrics.
        retry_after: Seconds after which another try makes sense; None: it makes none.
    """

    def __init__(
        self, status: int, message: str, *, reason: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after = retry_after


def queue_full(waiting: int, retry_after: int) -> Refusal:
    """Refuse what would wait too long: the queue is bounded."""
    message = f"busy: {waiting} requests are waiting already; try again in {retry_after} s"
    return Refusal(503, message, reason="queue_full", retry_after=retry_after)


def not_ready(model: str) -> Refusal:
    """Refuse while a model has no worker: it is loading, or its worker died a moment ago."""
    message = f"model '{model}' is not ready; ask /v2/models/{model}/ready and try again"
    return Refusal(503, message, reason="not_ready", retry_after=1)


def too_late(seconds: float) -> Refusal:
    """Refuse what could not be answered before its deadline."""
    message = f"not answered within {seconds:g} s; try again, or give it more time"
    return Refusal(504, message, reason="deadline", retry_after=1)


def too_large(what: str, limit: str) -> Refusal:
    """Refuse what is larger than this service takes."""
    return Refusal(413, f"{what}; this service takes at most {limit}", reason="too_large")
