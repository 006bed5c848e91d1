"""Refusals: requests that are not served, each with its status, its reason and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SHOWN: Final = 200
"""Characters of a request that an answer or the log repeats at most."""
MESSAGE: Final = 500
"""Characters of a whole message."""


def shown(value: Any) -> str:
    """Return a value of a request as a message may repeat it: short, whatever was sent."""
    if isinstance(value, str):
        return f"'{value[:SHOWN]}'" + ("..." if len(value) > SHOWN else "")
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:  # Python may refuse to print it
        return f"a number of {value.bit_length()} bits"
    return repr(value)[:SHOWN]


class Refusal(Exception):
    """A request is answered by an error.

    Attributes:
        status: HTTP status.
        message: One line for the caller.
        reason: A word for the metrics.
        retry_after: Seconds after which another try makes sense; None: it makes none.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = message if len(message) <= MESSAGE else f"{message[:MESSAGE]}..."
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after = retry_after
        self.headers = dict(headers or {})


def queue_full(waiting: int, retry_after: int) -> Refusal:
    """Make the answer to what would wait too long: the queue is bounded."""
    message = f"busy: {waiting} requests are waiting already; try again in {retry_after} s"
    return Refusal(503, message, reason="queue_full", retry_after=retry_after)


def not_ready(model: str) -> Refusal:
    """Make the answer while a model has no worker: it loads, or its worker died just now."""
    message = f"model '{model}' is not ready; ask /v2/models/{model}/ready and try again"
    return Refusal(503, message, reason="not_ready", retry_after=1)


def memory_full() -> Refusal:
    """Make the answer to what does not fit into memory beside the other requests."""
    message = "busy: other requests hold the memory that this one needs; try again in 1 s"
    return Refusal(503, message, reason="memory", retry_after=1)


def connections_full(retry_after: int) -> Refusal:
    """Make the answer on a connection beyond the limit."""
    message = f"busy: too many connections are open; try again in {retry_after} s"
    return Refusal(503, message, reason="connections", retry_after=retry_after)


def too_late(seconds: float) -> Refusal:
    """Make the answer to what could not be answered before its deadline."""
    message = f"not answered within {seconds:g} s; try again, or give it more time"
    return Refusal(504, message, reason="deadline", retry_after=1)


def too_large(what: str, limit: str) -> Refusal:
    """Make the answer to what is larger than this service takes."""
    return Refusal(413, f"{what}; this service takes at most {limit}", reason="too_large")
