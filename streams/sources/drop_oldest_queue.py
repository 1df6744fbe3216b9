"""A queue from a thread that must not wait to a task that may be slow: when full, it drops its oldest value."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from typing import Generic, TypeVar

from streams.sources.source import BEHIND, Shed

T = TypeVar("T")


class DropOldestQueue(Generic[T]):
    """Holds the newest `depth` values. A camera cannot be paused, so a slow reader loses the oldest ones.

    What is lost is counted by its reason: `BEHIND` here, others by `lose`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, depth: int) -> None:
        self._loop = loop
        self._values: deque[T] = deque(maxlen=depth)
        self._lost: Counter[str] = Counter()
        self._closed = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._changed = asyncio.Event()

    def put(self, value: T) -> None:
        """From any thread; never waits."""
        with self._lock:
            if len(self._values) == self._values.maxlen:
                self._lost[BEHIND] += 1
            self._values.append(value)
        self._loop.call_soon_threadsafe(self._changed.set)

    def lose(self, reason: str, count: int = 1) -> None:
        """From any thread: values were lost before they could be put."""
        with self._lock:
            self._lost[reason] += count
        self._loop.call_soon_threadsafe(self._changed.set)

    def close(self, error: BaseException | None = None) -> None:
        """From any thread: no more values will come, because of `error` or because the stream ended."""
        with self._lock:
            self._closed, self._error = True, error
        self._loop.call_soon_threadsafe(self._changed.set)

    async def take(self) -> list[T | Shed]:
        """What was lost since the last call, and the oldest value if there is one. Empty at the end.

        Raises the error that the queue was closed with, once everything is taken.
        """
        while True:
            self._changed.clear()
            with self._lock:
                taken: list[T | Shed] = [Shed(count, reason) for reason, count in self._lost.items()]
                self._lost.clear()
                if self._values:
                    taken.append(self._values.popleft())
                if taken:
                    return taken
                if self._error is not None:
                    raise self._error
                if self._closed:
                    return []
            await self._changed.wait()
