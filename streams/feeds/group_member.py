"""Shares feeds out among processes: a consumer group over the topic of feeds, of which each camera has one reader.

The group never commits, so whoever gets a partition reads what stands in it from its beginning: that is the state.
When a process dies its partitions, and with them its feeds, go to another within the transport's session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from schemas.topics import FEEDS
from streams.clock import Clock
from streams.errors import Fenced, Unavailable
from streams.feeds.reader_tasks import Read, Readers
from streams.feeds.roster import feed_in
from streams.retry import pauses
from streams.transport import Consumer, Partition, Record, Transport

log = structlog.get_logger()
GROUP = "sightline-feeds"
POLL_RECORDS = 500
POLL_SECONDS = 0.25
_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.2, 5.0


class Sharing:
    """One process's part. `run` until `stop`."""

    def __init__(self, transport: Transport, read: Read, clock: Clock, group: str = GROUP) -> None:
        self._transport, self._clock, self._group = transport, clock, group
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self.readers = Readers(read, clock, self._failed)
        self._keys: dict[Partition, set[bytes]] = {}

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Raises NewerMajor, PlanError, and what ends a reader that is no source's fault."""
        consumer = await self._transport.consumer(self._group, [FEEDS], self)
        waits = pauses(_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS)
        try:
            while not self._stopping.is_set():
                try:
                    await self._step(consumer)
                    waits = pauses(_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS)
                except Unavailable as error:
                    log.warning("feeds_not_followed", why=str(error))
                    await self._clock.sleep(next(waits))
        finally:
            await self._leave(consumer)
        if self._failure is not None:
            raise self._failure

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """Their feeds follow as records, from the partition's beginning on."""
        self._keys |= {partition: set() for partition in partitions}

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Stop reading before somebody else begins."""
        keys = [key for partition in partitions for key in self._keys.pop(partition, ())]
        await self.readers.drop(keys)

    async def _step(self, consumer: Consumer) -> None:
        for record in _last(await consumer.poll(POLL_RECORDS, POLL_SECONDS)):
            if (held := self._keys.get(record.partition)) is not None:
                held.add(record.key)
                await self.readers.follow(record.key, feed_in(record))

    async def _leave(self, consumer: Consumer) -> None:
        await self.readers.close()
        try:
            await consumer.close()
        except (Unavailable, Fenced) as error:
            log.warning("left_without_notice", error=str(error))

    def _failed(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopping.set()


def _last(records: Sequence[Record]) -> Sequence[Record]:
    """Of records with one key the last one counts; after a start a feed's history need not be lived through again."""
    newest = {record.key: record.offset for record in records}
    return [record for record in records if newest[record.key] == record.offset]
