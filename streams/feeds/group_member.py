"""Divides feeds among processes with a consumer group over the topic of feeds: each feed has one reader.

The group never commits, so the owner of a partition reads it from its beginning: its records are the state. When a
process dies, its partitions and their feeds go to another process within the transport's session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from schemas.topics import FEEDS
from streams.errors import Fenced, Unavailable
from streams.feeds.reader_tasks import Read, ReaderTasks
from streams.feeds.roster import decode_feed_record
from streams.metrics import ProcessMetrics
from streams.readiness.instruments import Instruments
from streams.readiness.probes import Probes
from streams.tasks import unless_stopped
from streams.transport import Consumer, Partition, Record, Transport

log = structlog.get_logger()
GROUP = "sightline-feeds"
POLL_RECORDS = 500
POLL_SECONDS = 0.25
LEAVE_SECONDS = 5.0
"""A broker that is away must not hold up the exit."""


class FeedGroupMember:
    """One process of the group; it reads the feeds of its partitions. `run` until `stop`."""

    def __init__(
        self, transport: Transport, read: Read, instruments: Instruments[ProcessMetrics], group: str = GROUP
    ) -> None:
        self._transport, self._group = transport, group
        self._health, self._retry = instruments.health, instruments.retry
        self._probes = Probes(instruments.clock, instruments.retry)
        self._stopping = asyncio.Event()
        self._failures = instruments.metrics.retries.labels("feed")
        self.readers = ReaderTasks(read, instruments.clock, self._failed)
        self._keys: dict[Partition, set[bytes]] = {}

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Waits for a broker that is away. Raises NewerMajor, PlanError; a reader's errors are its own."""
        await unless_stopped(self._stopping, self._follow())

    async def _follow(self) -> None:
        """Until it is cancelled."""
        consumer = await self._retry.connect("broker", self._join, Unavailable)
        self._health.warmed()
        probing = asyncio.create_task(self._probes.broker(self._transport, FEEDS))
        try:
            while True:
                await self._retry.forever("broker", partial(self._step, consumer), Unavailable)
        finally:
            probing.cancel()
            await self._leave(consumer)

    async def _join(self) -> Consumer:
        return await self._transport.consumer(self._group, [FEEDS], self)

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
            async with asyncio.timeout(LEAVE_SECONDS):
                await consumer.close()
        except (TimeoutError, Unavailable, Fenced) as error:
            log.warning("left_without_notice", error=str(error) or type(error).__name__)

    def _failed(self, error: Exception) -> None:
        self._failures.inc()


def _last_by_key(records: Sequence[Record]) -> Sequence[Record]:
    """The last record of each key; after a start, earlier settings of a feed need not be applied."""
    last = {record.key: record.offset for record in records}
    return [record for record in records if last[record.key] == record.offset]
