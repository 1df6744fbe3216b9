"""Reads topics without a consumer group: whole, or on from where the last reading ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from streams.transport import Partition, Record

PAGE_RECORDS = 256
"""Records per read: dead letters may be megabytes each, and a page of them must fit in memory."""


class ReadableLog(Protocol):
    """The part of a transport that reading without a group needs."""

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        """First and next offset of every partition."""
        ...

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        """Records from `offset` on; empty where there are none."""
        ...


async def read_range(
    log: ReadableLog, partition: Partition, first: int, end: int, *, page_records: int = PAGE_RECORDS
) -> AsyncIterator[Record]:
    """The records of `partition` from offset `first` up to, not including, `end`. Raises Unavailable."""
    offset = first
    while offset < end and (page := await log.read(partition, offset, min(page_records, end - offset))):
        for record in page:
            yield record
        offset = page[-1].offset + 1


async def read_topic(log: ReadableLog, topic: str, *, page_records: int = PAGE_RECORDS) -> AsyncIterator[Record]:
    """Every record between the topic's present start and end, partition by partition.

    Raises Unavailable, PlanError for a topic that does not exist.
    """
    async for record in TopicReader(log, topic, page_records=page_records).new_records():
        yield record


class TopicReader:
    """Reads one topic to its end, as often as it is asked; each record once.

    With `newest_only`, records more than a page behind the end of their partition are skipped.
    """

    def __init__(
        self, log: ReadableLog, topic: str, *, page_records: int = PAGE_RECORDS, newest_only: bool = False
    ) -> None:
        self._log, self._topic = log, topic
        self._page_records, self._newest_only = page_records, newest_only
        self._next: dict[Partition, int] = {}

    async def new_records(self) -> AsyncIterator[Record]:
        """Records that earlier calls did not give, up to the end as it is now. Raises Unavailable, PlanError.

        After an error or an early exit, the next call goes on behind the last record that was given.
        """
        for partition, (first, end) in (await self._log.ends(self._topic)).items():
            offset = self._offset(partition, first, end)
            async for record in read_range(self._log, partition, offset, end, page_records=self._page_records):
                self._next[partition] = record.offset + 1
                yield record
            self._next[partition] = max(offset, end)

    async def next_pages(self) -> list[Record]:
        """One page of every partition that has new records; empty at the end. Raises Unavailable, PlanError."""
        records: list[Record] = []
        for partition, (first, end) in (await self._log.ends(self._topic)).items():
            offset = self._offset(partition, first, end)
            if offset < end:
                page = await self._log.read(partition, offset, self._page_records)
                records += page
                self._next[partition] = page[-1].offset + 1 if page else end
        return records

    def _offset(self, partition: Partition, first: int, end: int) -> int:
        newest = end - self._page_records if self._newest_only else first
        return max(first, newest, self._next.get(partition, first))
