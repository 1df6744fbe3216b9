"""Feeds in a topic, on any transport: changes take effect, each feed has one reader, dead readers are replaced."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from schemas.events import Feed
from streams.feeds.roster import all_feeds, feed_key, feed_record, removal_record
from streams.transport import TopicSpec, Transport
from tests.support.transport_urls import connect

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 90.0


def feed(name: str, source: str = "0", **keys: Any) -> Feed:
    return Feed(tenant="default", feed=name, source=source, changed=datetime.now(UTC), **keys)


class Member:
    """A process under test, and the feeds that it reports to read."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.reads: set[tuple[str, str]] = set()
        self.history: list[str] = []
        self._output = asyncio.create_task(self._read_output())

    async def _read_output(self) -> None:
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode().split():
            self.history.append(" ".join(line))
            if line[0] == "reads":
                self.reads.add((line[1], line[2]))
            elif line[0] == "leaves":
                self.reads.discard((line[1], line[2]))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()
        await self._output
        self.reads.clear()


@asynccontextmanager
async def member(url: str) -> AsyncIterator[Member]:
    command = [sys.executable, "-m", "tests.contract.feed_reader", url]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT)
    started = Member(process)
    try:
        yield started
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), DEADLINE_SECONDS)
        await started._output


async def until(condition: Callable[[], bool], *members: Member) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            dead = [member.history for member in members if member.process.returncode is not None]
            assert not dead, dead
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.02)


class FeedsSuite:
    """Subclasses give `url`."""

    @pytest.fixture
    async def transport(self, url: str) -> AsyncIterator[Transport]:
        transport = connect(url)
        await transport.open()
        declared = [topic for topic in topics.declared(partitions=2) if topic.name == topics.FEEDS]
        specs = [TopicSpec(topic.name, topic.partitions, compacted=True) for topic in declared]
        await transport.create(specs)
        for key in await all_feeds(transport):
            await transport.publish([removal_record(*key.decode().split("/"))])
        yield transport
        await transport.close()

    async def test_changes_take_effect_without_a_restart(self, transport: Transport, url: str) -> None:
        await transport.publish([feed_record(feed("before", "1"))])
        async with member(url) as first:
            await until(lambda: first.reads == {("before", "1")}, first)
            await transport.publish([feed_record(feed("door", "2"))])
            await until(lambda: first.reads == {("before", "1"), ("door", "2")}, first)
            await transport.publish([feed_record(feed("door", "3"))])
            await until(lambda: first.reads == {("before", "1"), ("door", "3")}, first)
            await transport.publish([feed_record(feed("before", "1", paused=True)), feed_record(feed("door", "3"))])
            await until(lambda: first.reads == {("door", "3")}, first)
            await transport.publish([feed_record(feed("before", "1")), removal_record("default", "door")])
            await until(lambda: first.reads == {("before", "1")}, first)
        assert first.process.returncode == 0
        assert first.history.count("reads door 3") == 1, "the same settings again change nothing"
        assert set(await all_feeds(transport)) == {feed_key(feed("before"))}

    async def test_each_feed_has_one_reader_and_a_dead_reader_is_replaced(self, transport: Transport, url: str) -> None:
        feeds = {(f"camera-{number}", str(number)) for number in range(24)}
        await transport.publish([feed_record(feed(name, source)) for name, source in sorted(feeds)])
        async with member(url) as first, member(url) as second:
            await until(
                lambda: bool(first.reads and second.reads) and first.reads | second.reads == feeds, first, second
            )
            assert not first.reads & second.reads
            await first.kill()
            await until(lambda: second.reads == feeds, second)
            await transport.publish([feed_record(feed("late", "99"))])
            await until(lambda: second.reads == {*feeds, ("late", "99")}, second)
