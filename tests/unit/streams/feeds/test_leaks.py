"""Two hundred rounds of adding and removing feeds: threads, open files and memory do not grow."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from schemas.topics import RAW
from streams.clock import SystemClock
from streams.feeds.reader import FeedReader
from streams.feeds.reader_tasks import ReaderTasks
from streams.sources.source_choice import RemoteOptions
from tests.contract.feeds_suite import feed
from tests.contract.source_suite import ingest_target
from tests.support.videos import write_video
from tests.unit.streams.sources.test_live import http_server, mjpeg

ROUNDS, SETTLED = 200, 40
DEADLINE_SECONDS = 60.0
MOST_GROWTH_BYTES = 24 << 20
"""160 rounds; a leaked thread's stack or a decoder with its frames alone would be several times that."""
MOST_NEW_THREADS, MOST_NEW_FILES = 8, 8
"""Pools for blocking calls grow with the load of the machine, to a few threads; a leak would be one each round."""


async def no_backpressure() -> None:
    """There is always room."""


def resources() -> tuple[int, int]:
    """Threads and open files."""
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(300)
async def test_two_hundred_rounds_of_adding_and_removing_leak_nothing(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", frames=4)
    failures: list[Exception] = []
    async with ingest_target(tmp_path) as target, http_server(web.get("/video", mjpeg(1000))) as port:  # type: ignore[arg-type]
        reader = FeedReader(
            transport=target.log,
            blobs=target.blobs,
            clock=SystemClock(),
            backpressure=no_backpressure,
            environment={},
            remote=RemoteOptions(),
            inline_limit_bytes=1 << 20,
        )
        readers = ReaderTasks(reader, SystemClock(), failures.append)
        sources = [feed("video", str(video), loop=True), feed("camera", f"http://127.0.0.1:{port}/video")]

        async def accepted() -> int:
            return sum(end for _, end in (await target.log.ends(RAW)).values())

        async def one_round(number: int) -> None:
            wanted = sources[number % 2]
            before = await accepted()
            await readers.follow(wanted.feed.encode(), wanted)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await accepted() == before:
                    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.005)
            await readers.follow(wanted.feed.encode(), None)

        for number in range(SETTLED):
            await one_round(number)
        threads, files = resources()
        gc.collect()  # tests before this one may have tuned the collector to come rarely
        memory = psutil.Process().memory_info().rss
        for number in range(SETTLED, ROUNDS):
            await one_round(number)
            if number % SETTLED == 0:
                gc.collect()
        after, grown = resources(), psutil.Process().memory_info().rss - memory
        assert after[0] <= threads + MOST_NEW_THREADS
        assert after[1] <= files + MOST_NEW_FILES
        assert grown < MOST_GROWTH_BYTES, f"{grown >> 20} MiB more"
        assert len(readers) == 0
    assert failures == []
