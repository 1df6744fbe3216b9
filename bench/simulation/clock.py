"""A clock that runs like the real one and can jump."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

DAY_SECONDS = 86_400.0


class JumpingClock:
    """Real time, and what was jumped over. A task that sleeps until a moment that is jumped over wakes."""

    def __init__(self, begin: datetime) -> None:
        self._begin, self._started = begin.timestamp(), time.monotonic()
        self._ahead = 0.0
        self.sleepers = 0
        """Tasks that are asleep: the periodic ones are, unless they are at work."""
        self._jumped = asyncio.Event()

    def now(self) -> float:
        return self._begin + self.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() - self._started + self._ahead

    def boot(self) -> float:
        """Seconds since boot, which leases use."""
        return self._begin + self.monotonic()

    def jump(self, seconds: float) -> None:
        self._ahead += seconds
        jumped, self._jumped = self._jumped, asyncio.Event()
        jumped.set()

    async def sleep(self, seconds: float) -> None:
        deadline = self.monotonic() + seconds
        self.sleepers += 1
        try:
            while (left := deadline - self.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._jumped.wait(), left)
        finally:
            self.sleepers -= 1


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
