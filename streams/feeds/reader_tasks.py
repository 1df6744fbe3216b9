"""One task per feed that is read; after a change the old task ends before the new one begins."""

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
from streams.retry import Backoff

log = structlog.get_logger()
EXPECTED = (StreamError, StoreError, OSError)
"""Errors whose message says enough. Of any other, a decoder's or a fault of ours, the traceback is logged as well."""
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0
Read = Callable[[Feed], Awaitable[object]]


class ReaderTasks:
    """`read` ingests one feed until its source ends; it may be cancelled.

    An error of one feed is retried and ends neither another feed nor the process: the next process that took the feed
    over would end as well. `failed` gets each error.
    """

    def __init__(self, read: Read, clock: Clock, failed: Callable[[Exception], None] = lambda _: None) -> None:
        self._read, self._clock, self._failed = read, clock, failed
        self._tasks: dict[bytes, tuple[Feed, asyncio.Task[None]]] = {}
        self._numbers = count()

    def __contains__(self, key: bytes) -> bool:
        return key in self._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    async def follow(self, key: bytes, feed: Feed | None) -> None:
        """Read `feed` from now on; None or a paused feed ends its task. The same settings again change nothing."""
        current = self._tasks.get(key)
        if current is not None and feed is not None and _same_settings(current[0], feed):
            return
        await self.drop([key])
        if feed is not None and not feed.paused:
            self._tasks[key] = (
                feed,
                asyncio.create_task(self._read_to_end(feed), name=f"feed-{next(self._numbers)}"),
            )

    async def drop(self, keys: Iterable[bytes]) -> None:
        """End these tasks and await their end; a write that has begun is finished."""
        tasks = [self._tasks.pop(key)[1] for key in list(keys) if key in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.drop(list(self._tasks))

    async def _read_to_end(self, feed: Feed) -> None:
        """Read until the source ends; any error is logged and retried after a growing pause."""
        backoff = Backoff(self._clock, first_seconds=FIRST_PAUSE_SECONDS, most_seconds=MAX_PAUSE_SECONDS)
        while True:
            try:
                await self._read(feed)
            except Exception as error:
                self._failed(error)
                seconds = backoff.next_seconds()
                log.warning(
                    "feed_not_read",
                    feed=feed.feed,
                    why=str(error) or type(error).__name__,
                    retry_in_seconds=round(seconds, 1),
                    exc_info=not isinstance(error, EXPECTED),
                )
                await self._clock.sleep(seconds)
            else:
                log.info("feed_ended", feed=feed.feed)
                return


def _same_settings(first: Feed, second: Feed) -> bool:
    return replace(first, changed=second.changed) == second
