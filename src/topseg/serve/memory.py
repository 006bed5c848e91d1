"""Memory: what requests hold, all together, against one limit.

Counted are bodies as they arrive, what is unpacked of them, and answers until they are sent, over
HTTP and gRPC alike.
"""

from __future__ import annotations

import threading

from topseg.serve.refusal import memory_full


class Memory:
    """The bytes that all requests may hold.

    Attributes:
        held: Bytes that they hold now.
    """

    def __init__(self, limit: int) -> None:
        """Hold nothing yet, and at most ``limit`` bytes."""
        self.held = 0
        self._limit = limit
        self._lock = threading.Lock()  # bodies are unpacked in threads

    def add(self, size: int) -> bool:
        """Count bytes, or release them (less than 0); return whether all fit."""
        with self._lock:
            self.held += size
            return self.held <= self._limit


class Share:
    """What one request holds of the memory, until it is closed."""

    def __init__(self, memory: Memory) -> None:
        """Hold nothing yet."""
        self._memory = memory
        self._size = 0

    def take(self, size: int) -> None:
        """Count bytes that the request holds from now on.

        Raises:
            Refusal: All requests together hold too much.
        """
        self._size += size
        if not self._memory.add(size):
            raise memory_full()

    def close(self) -> None:
        """Release everything."""
        size, self._size = self._size, 0
        self._memory.add(-size)
