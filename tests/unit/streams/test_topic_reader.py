"""Reading without a group: pages, holes, and on from where the last reading ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from streams.topic_reader import TopicReader, read_topic
from streams.transport import Partition, Record

FIRST, SECOND = Partition("t", 0), Partition("t", 1)


class Log:
    """A log in memory: the offsets that each partition holds, and the end of each."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, list[int]] = {FIRST: [], SECOND: []}
        self.end: dict[Partition, int] = {FIRST: 0, SECOND: 0}
        self.largest_read = self.reads = 0

    def drop(self, partition: Partition, before: int) -> None:
        self.offsets[partition] = [each for each in self.offsets[partition] if each >= before]

    def append(self, partition: Partition, *offsets: int, end: int | None = None) -> None:
        self.offsets[partition] += offsets
        self.end[partition] = end or offsets[-1] + 1

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        return {
            partition: (min(offsets, default=self.end[partition]), self.end[partition])
            for partition, offsets in self.offsets.items()
        }

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        self.reads += 1
        self.largest_read = max(self.largest_read, max_records)
        page = [each for each in self.offsets[partition] if each >= offset][:max_records]
        return [Record(partition, each, -1, b"", b"", {}, 0.0) for each in page]


async def read(reader: TopicReader) -> list[tuple[int, int]]:
    return [(record.partition.index, record.offset) async for record in reader.new_records()]


async def test_a_topic_is_read_once_in_pages_over_holes() -> None:
    log = Log()
    log.append(FIRST, 3, 4, 9, 10, end=14)
    log.append(SECOND, 0)
    everything = [(record.partition.index, record.offset) async for record in read_topic(log, "t", page_records=2)]
    assert everything == [(0, 3), (0, 4), (0, 9), (0, 10), (1, 0)]
    assert log.largest_read == 2


async def test_the_next_reading_goes_on_where_the_last_one_ended() -> None:
    log = Log()
    log.append(FIRST, 0, 1)
    reader = TopicReader(log, "t", page_records=2)
    assert await read(reader) == [(0, 0), (0, 1)]
    assert await read(reader) == []
    log.append(FIRST, 2)
    log.append(SECOND, 5)
    assert await read(reader) == [(0, 2), (1, 5)]


async def test_records_that_were_dropped_in_between_are_skipped() -> None:
    log = Log()
    log.append(FIRST, 0, 1)
    reader = TopicReader(log, "t")
    assert await read(reader) == [(0, 0), (0, 1)]
    log.append(FIRST, 2, 3, 7, 8)
    log.drop(FIRST, 7)
    assert await read(reader) == [(0, 7), (0, 8)]


async def test_a_hole_at_the_end_is_read_once() -> None:
    log = Log()
    log.append(FIRST, 0, end=3)
    whole, paged = TopicReader(log, "t"), TopicReader(log, "t", page_records=1)
    for _ in range(4):
        await read(whole)
        await paged.next_pages()
    assert log.reads == 2 + 2
    log.append(FIRST, 3)
    assert await read(whole) == [(0, 3)]
    assert [record.offset for record in await paged.next_pages()] == [3]


async def test_a_reading_that_ends_early_is_continued() -> None:
    log = Log()
    log.append(FIRST, 0, 1, 2)
    reader = TopicReader(log, "t")
    async for record in reader.new_records():
        if record.offset == 1:
            break
    assert await read(reader) == [(0, 2)]


@pytest.mark.parametrize(("newest_only", "expected"), [(False, [0, 1]), (True, [3, 4])])
async def test_pages_take_turns(newest_only: bool, expected: list[int]) -> None:  # noqa: FBT001 - a parameter
    log = Log()
    log.append(FIRST, 0, 1, 2, 3, 4)
    log.append(SECOND, 0)
    reader = TopicReader(log, "t", page_records=2, newest_only=newest_only)
    page = await reader.next_pages()
    assert [(record.partition.index, record.offset) for record in page] == [(0, offset) for offset in expected] + [
        (1, 0)
    ]
