"""From a thread that cannot wait to a task that may be slow: the newest few are kept, what was dropped is counted."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A camera does not stop for us: where the taker falls behind, the oldest are dropped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, depth: int) -> None:
        self._loop = loop
        self._kept: deque[T] = deque(maxlen=depth)
        self._dropped = 0
        self._closed = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._changed = asyncio.Event()

    def put(self, value: T) -> None:
        """From any thread; never waits."""
        with self._lock:
            self._dropped += len(self._kept) == self._kept.maxlen
            self._kept.append(value)
        self._loop.call_soon_threadsafe(self._changed.set)

    def close(self, error: BaseException | None = None) -> None:
        """From any thread: nothing more comes, because of `error` or because it is over."""
        with self._lock:
            self._closed, self._error = True, error
        self._loop.call_soon_threadsafe(self._changed.set)

    async def take(self) -> tuple[T | None, int]:
        """The oldest kept value and how many were dropped since the last call; None at the end.

        Raises the error it was closed with, after everything kept was taken.
        """
        while True:
            self._changed.clear()
            with self._lock:
                dropped, self._dropped = self._dropped, 0
                if self._kept:
                    return self._kept.popleft(), dropped
                if self._error is not None:
                    raise self._error
                if self._closed:
                    return None, dropped
            await self._changed.wait()
