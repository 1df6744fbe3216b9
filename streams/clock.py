"""Time as something that is handed in: the system's, or one that a test owns."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Wall time, seconds since 1970 UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for durations; may be read from any thread."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Signal:
    """An event that can be waited for with a deadline on a given clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()
        self.set, self.clear, self.is_set = self._event.set, self._event.clear, self._event.is_set

    async def wait(self, seconds: float | None = None) -> None:
        """Return when it is set or the time is over, whichever comes first; None waits without a limit."""
        if seconds is None or self.is_set():
            await self._event.wait()
            return
        waits = (asyncio.ensure_future(self._event.wait()), asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class ManualClock:
    """Stands still until `advance` is called, which wakes sleepers in order."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._wall = now
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._wall + self._passed

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many are asleep: a test waits for it before it advances."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def advance(self, seconds: float) -> None:
        self._passed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)


def utc(seconds: float) -> datetime:
    """The moment `seconds` after 1970 UTC."""
    return datetime.fromtimestamp(seconds, UTC)
