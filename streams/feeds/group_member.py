"""Divides feeds among processes with a consumer group over the topic of feeds: each feed has one reader.

The group never commits, so the owner of a partition reads it from its beginning: its records are the state. When a
process dies, its partitions and their feeds go to another process within the transport's session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from schemas.topics import FEEDS
from streams.clock import Clock
from streams.errors import Fenced, Unavailable
from streams.feeds.reader_tasks import Read, ReaderTasks
from streams.feeds.roster import decode_feed_record
from streams.retry import Backoff
from streams.transport import Consumer, Partition, Record, Transport

log = structlog.get_logger()
GROUP = "sightline-feeds"
POLL_RECORDS = 500
POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.2, 5.0


class FeedGroupMember:
    """One process of the group; it reads the feeds of its partitions. `run` until `stop`."""

    def __init__(self, transport: Transport, read: Read, clock: Clock, group: str = GROUP) -> None:
        self._transport, self._clock, self._group = transport, clock, group
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self.readers = ReaderTasks(read, clock, self._failed)
        self._keys: dict[Partition, set[bytes]] = {}

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Raises NewerMajor, PlanError, and the first error of a reader that is not retried."""
        consumer = await self._transport.consumer(self._group, [FEEDS], self)
        backoff = Backoff(self._clock, first_seconds=FIRST_PAUSE_SECONDS, most_seconds=MAX_PAUSE_SECONDS)
        try:
            while not self._stopping.is_set():
                try:
                    await self._step(consumer)
                    backoff.reset()
                except Unavailable as error:
                    log.warning("feeds_not_followed", why=str(error))
                    await backoff.pause()
        finally:
            await self._leave(consumer)
        if self._failure is not None:
            raise self._failure

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """Their feeds follow as records, from the beginning of each partition."""
        self._keys |= {partition: set() for partition in partitions}

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Stop reading their feeds before another process begins."""
        keys = [key for partition in partitions for key in self._keys.pop(partition, ())]
        await self.readers.drop(keys)

    async def _step(self, consumer: Consumer) -> None:
        for record in _last_by_key(await consumer.poll(POLL_RECORDS, POLL_SECONDS)):
            if (keys := self._keys.get(record.partition)) is not None:
                keys.add(record.key)
                await self.readers.follow(record.key, decode_feed_record(record))

    async def _leave(self, consumer: Consumer) -> None:
        await self.readers.close()
        try:
            await consumer.close()
        except (Unavailable, Fenced) as error:
            log.warning("left_without_notice", error=str(error))

    def _failed(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopping.set()


def _last_by_key(records: Sequence[Record]) -> Sequence[Record]:
    """The last record of each key; after a start, earlier settings of a feed need not be applied."""
    last = {record.key: record.offset for record in records}
    return [record for record in records if last[record.key] == record.offset]
