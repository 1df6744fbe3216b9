"""A queue from a thread that must not wait to a task that may be slow: when full, it drops its oldest value."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class DropOldestQueue(Generic[T]):
    """Holds the newest `depth` values. A camera cannot be paused, so a slow reader loses the oldest ones."""

    def __init__(self, loop: asyncio.AbstractEventLoop, depth: int) -> None:
        self._loop = loop
        self._values: deque[T] = deque(maxlen=depth)
        self._dropped = 0
        self._closed = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._changed = asyncio.Event()

    def put(self, value: T) -> None:
        """From any thread; never waits."""
        with self._lock:
            self._dropped += len(self._values) == self._values.maxlen
            self._values.append(value)
        self._loop.call_soon_threadsafe(self._changed.set)

    def close(self, error: BaseException | None = None) -> None:
        """From any thread: no more values will come, because of `error` or because the stream ended."""
        with self._lock:
            self._closed, self._error = True, error
        self._loop.call_soon_threadsafe(self._changed.set)

    async def take(self) -> tuple[T | None, int]:
        """The oldest value and the number of values dropped since the last call; None at the end.

        Raises the error that the queue was closed with, once all values are taken.
        """
        while True:
            self._changed.clear()
            with self._lock:
                dropped, self._dropped = self._dropped, 0
                if self._values:
                    return self._values.popleft(), dropped
                if self._error is not None:
                    raise self._error
                if self._closed:
                    return None, dropped
            await self._changed.wait()
