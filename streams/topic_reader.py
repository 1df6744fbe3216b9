"""Reads topics without a consumer group: whole, or on from where the last reading ended."""

from __future__ import annotations

from collections.abc import AsyncIterator

from streams.transport import Partition, Record, Transport

PAGE_RECORDS = 256
"""Records per read: dead letters may be megabytes each, and a page of them must fit in memory."""


async def read_topic(transport: Transport, topic: str, *, page_records: int = PAGE_RECORDS) -> AsyncIterator[Record]:
    """Every record between the topic's present start and end, partition by partition. Raises Unavailable."""
    async for record in TopicReader(transport, topic, page_records=page_records).new_records():
        yield record


class TopicReader:
    """Reads one topic to its end, as often as `new_records` is called; each record once. A missing topic is empty."""

    def __init__(self, transport: Transport, topic: str, *, page_records: int = PAGE_RECORDS) -> None:
        self._transport, self._topic, self._page_records = transport, topic, page_records
        self._next: dict[Partition, int] = {}

    async def new_records(self) -> AsyncIterator[Record]:
        """Records that earlier calls did not give, up to the end as it is now. Raises Unavailable.

        After an error or an early exit the next call goes on behind the last record that was given.
        """
        if self._topic not in await self._transport.topics():
            return
        for partition, (first, end) in (await self._transport.ends(self._topic)).items():
            offset = max(first, self._next.get(partition, first))
            while offset < end and (page := await self._transport.read(partition, offset, self._page_records)):
                for record in page:
                    offset = self._next[partition] = record.offset + 1
                    yield record
            self._next[partition] = max(offset, end)
