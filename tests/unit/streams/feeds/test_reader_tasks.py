"""An error of one feed is that feed's alone."""

from __future__ import annotations

import asyncio

import av
import pytest

from schemas.events import Feed
from streams.clock import ManualClock
from streams.feeds.reader_tasks import ReaderTasks
from tests.contract.feeds_suite import feed

DEADLINE_SECONDS = 30.0


class Reads:
    """Reads feeds without an end; the feed `bad` raises its errors first, one at each attempt."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.running: set[str] = set()

    async def __call__(self, feed: Feed) -> None:
        if feed.feed == "bad" and self.errors:
            raise self.errors.pop(0)
        self.running.add(feed.feed)
        try:
            await asyncio.Event().wait()
        finally:
            self.running.discard(feed.feed)


async def settled(reads: Reads, clock: ManualClock, running: set[str]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while reads.running != running or reads.errors:
            clock.advance(30.0 if clock.sleepers else 0.0)
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.001)


@pytest.mark.parametrize(
    "error",
    [
        av.error.PatchWelcomeError(1, "not yet implemented in FFmpeg"),
        av.error.InvalidDataError(1, "invalid data"),
        ValueError("cannot decode unknown codec"),
        OSError("cable"),
        RuntimeError("a fault of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_feed_raises_is_counted_and_retried_and_ends_no_other_feed(error: Exception) -> None:
    reads, clock, failures = Reads(error, error), ManualClock(), list[Exception]()
    tasks = ReaderTasks(reads, clock, failures.append)
    for name in ("good", "bad"):
        await tasks.follow(name.encode(), feed(name))
    await settled(reads, clock, {"good", "bad"})
    assert failures == [error, error]
    await tasks.close()
    assert reads.running == set()
