"""One task per feed that is read; a change ends the old one before the new one begins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import count

import structlog
from msgspec.structs import replace

from schemas.events import Feed
from stores.errors import StoreError
from streams.clock import Clock
from streams.errors import StreamError
from streams.retry import pauses

log = structlog.get_logger()
FAULTS = (StreamError, StoreError, OSError, ValueError)
"""What becomes of sources and stores, and is tried again; anything else is a fault of ours and ends the process."""
FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.5, 30.0
Read = Callable[[Feed], Awaitable[object]]


class Readers:
    """`read` ingests one feed until its source ends, and may be cancelled. `failed` gets a fault of ours."""

    def __init__(self, read: Read, clock: Clock, failed: Callable[[BaseException], None]) -> None:
        self._read, self._clock, self._failed = read, clock, failed
        self._reading: dict[bytes, tuple[Feed, asyncio.Task[None]]] = {}
        self._numbers = count()

    def __contains__(self, key: bytes) -> bool:
        return key in self._reading

    def __len__(self) -> int:
        return len(self._reading)

    async def follow(self, key: bytes, feed: Feed | None) -> None:
        """Read the feed as it is said now; None or paused ends it. What says the same again changes nothing."""
        known = self._reading.get(key)
        if known is not None and feed is not None and _same(known[0], feed):
            return
        await self.drop([key])
        if feed is not None and not feed.paused:
            task = asyncio.create_task(self._keep(feed), name=f"feed-{next(self._numbers)}")
            task.add_done_callback(self._ended)
            self._reading[key] = feed, task

    async def drop(self, keys: Iterable[bytes]) -> None:
        """Return when none of these is read any more; a write that has begun is finished."""
        tasks = [self._reading.pop(key)[1] for key in list(keys) if key in self._reading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.drop(list(self._reading))

    async def _keep(self, feed: Feed) -> None:
        """Until the source ends by itself; what fails is tried again after a growing pause."""
        waits = pauses(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS)
        while True:
            try:
                await self._read(feed)
            except FAULTS as error:
                seconds = next(waits)
                log.warning("feed_not_read", feed=feed.feed, why=str(error), again_in_seconds=round(seconds, 1))
                await self._clock.sleep(seconds)
            else:
                log.info("feed_ended", feed=feed.feed)
                return

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


def _same(one: Feed, other: Feed) -> bool:
    return replace(one, changed=other.changed) == other
