"""An error of one feed is that feed's alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import pytest
from structlog.testing import capture_logs

from schemas.events import Feed
from schemas.topics import RAW
from streams.clock import ManualClock
from streams.feeds.reader import FeedReader
from streams.feeds.reader_tasks import ReaderTasks
from streams.sources.source import UnreadableSource
from streams.sources.source_choice import RemoteOptions
from tests.contract.feeds_suite import feed
from tests.contract.source_suite import ingest_target
from tests.support.videos import write_video
from tests.unit.streams.feeds.test_leaks import no_backpressure

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


async def test_films_that_cannot_be_read_leave_their_neighbors_alone(tmp_path: Path) -> None:
    """Real sources: a text; films without a frame, with another codec midway, cut short; and a good one."""
    (tmp_path / "text.mp4").write_text("no film")
    empty = write_video(tmp_path / "empty.mp4", codec="mpeg4")
    content = empty.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    empty.write_bytes(content[:start] + bytes(end - start) + content[end:])
    parts = [write_video(tmp_path / "1.ts"), write_video(tmp_path / "2.ts", codec="libx265", first=100)]
    (tmp_path / "changes.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    good = write_video(tmp_path / "good.mp4", detailed=True, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    clock, failures = ManualClock(), list[Exception]()
    async with ingest_target(tmp_path / "target") as target:
        reader = FeedReader(
            transport=target.log,
            blobs=target.blobs,
            clock=clock,
            backpressure=no_backpressure,
            environment={},
            remote=RemoteOptions(),
            inline_limit_bytes=1 << 20,
        )
        tasks = ReaderTasks(reader, clock, failures.append)
        with capture_logs() as logged:
            for path in (tmp_path / "text.mp4", empty, tmp_path / "changes.ts", cut, good):
                await tasks.follow(path.name.encode(), feed(path.stem, str(path)))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (
                    sum(end for _, end in (await target.log.ends(RAW)).values()) <= 60
                    or len(failures) < 4
                    or not [entry for entry in logged if entry.get("reason") == "cut_short"]
                ):
                    clock.advance(30.0 if clock.sleepers else 0.0)
                    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.005)
        await tasks.close()
    assert {type(failure) for failure in failures} == {UnreadableSource}
    told = {(entry["feed"], entry["reason"]) for entry in logged if entry["event"] == "feed_file_refused"}
    assert ("cut", "cut_short") in told
