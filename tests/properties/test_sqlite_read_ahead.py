"""A consumer takes its own process's records from memory: the same ones, in the same order, as in the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import hypothesis.strategies as st
from hypothesis import given

from streams.sqlite.catalog import Catalog
from streams.sqlite.read_ahead import READ_AHEAD_BYTES, RecordRange
from streams.sqlite.read_cursor import ReadCursor, fetch
from streams.sqlite.record_batch import FIELDS, Batch
from streams.sqlite.record_rows import CHUNK_RECORDS, READ_BYTES, read_rows, to_records
from streams.sqlite.schema import create_tables
from streams.transport import NewRecord, Partition, Record, TopicSpec

EPOCH = 3
COUNTS = st.integers(1, 9)


class Log:
    """A topic of two partitions, a cursor on each."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        create_tables(connection)
        self.connection, self.catalog, self.written = connection, Catalog(), 0
        self.catalog.create(connection, [TopicSpec("t", 2)])
        self.catalog.load(connection)
        ids = self.catalog.topic("t").partition_ids
        self.cursors = {
            partition_id: ReadCursor(partition_id, Partition("t", number), EPOCH, 0)
            for number, partition_id in enumerate(ids)
        }

    def publish(self, count: int, *, size: int = 1) -> Batch:
        numbers = range(self.written, self.written + count)
        self.written += count
        batch = Batch(
            self.catalog,
            [
                NewRecord("t", b"%d" % (number % 5), b"%d" % number * size, {"number": b"%d" % number})
                for number in numbers
            ],
        )
        batch.append(self.connection, float(self.written))
        return batch

    def cache(self, batch: Batch) -> None:
        for partition_id, rows in batch.by_partition.items():
            new = RecordRange(batch.first_offsets[partition_id], batch.timestamp, rows)
            self.cursors[partition_id].cache(new)

    def poll(self, count: int) -> list[Record]:
        turns = [(cursor, tuple(cursor.read_ahead.ranges)) for cursor in self.cursors.values()]
        return fetch(self.connection, 1, turns, count).accept()

    def all(self) -> list[Record]:
        return [
            record
            for cursor in self.cursors.values()
            for record in to_records(read_rows(self.connection, cursor.partition_id, 0, 10_000)[0], cursor.partition, 3)
        ]


@contextmanager
def new_log() -> Iterator[Log]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield Log(connection)


@given(st.lists(st.tuples(st.sampled_from(["ours", "others", "ours, cached late", "poll"]), COUNTS), max_size=30))
def test_every_record_comes_once_and_in_order_whichever_process_wrote_it(steps: list[tuple[str, int]]) -> None:
    with new_log() as log:
        seen: list[Record] = []
        late: list[Batch] = []
        for step, count in steps:
            if step == "poll":
                seen += log.poll(count)
                for batch in late:
                    log.cache(batch)
                late.clear()
            elif (batch := log.publish(count)) and step == "ours":
                log.cache(batch)
            elif step == "ours, cached late":
                late.append(batch)
        while records := log.poll(7):
            seen += records
        assert sorted(seen, key=lambda record: record.partition.index) == log.all()
        assert all(not cursor.read_ahead.ranges and not cursor.read_ahead.size_bytes for cursor in log.cursors.values())


def test_what_was_written_here_is_not_read_back() -> None:
    with new_log() as log:
        batch = log.publish(40)
        log.cache(batch)
        published = [value for rows in batch.by_partition.values() for value in rows.fields[1::FIELDS]]
        received = [record.value for record in log.poll(100)]
        assert all(read is written for written, read in zip(published, received, strict=True))


def test_a_consumer_that_falls_behind_caches_no_more_than_its_limit() -> None:
    with new_log() as log:
        for _ in range(12):
            log.cache(log.publish(10, size=50_000))
        cached = [cursor.read_ahead.size_bytes for cursor in log.cursors.values()]
        assert all(READ_AHEAD_BYTES // 2 < size <= READ_AHEAD_BYTES for size in cached)
        seen = [record for _ in range(20) for record in log.poll(9)]
        assert sorted(seen, key=lambda record: record.partition.index) == log.all()


def test_a_read_that_ends_early_for_its_size_skips_nothing() -> None:
    """A read ends after 32 MiB: cached records behind its end have to wait."""
    with new_log() as log:
        log.publish(3 * CHUNK_RECORDS, size=READ_BYTES // CHUNK_RECORDS // 2)
        log.cache(log.publish(20))
        seen: list[Record] = []
        while records := log.poll(1_000):
            seen += records
        for cursor in log.cursors.values():
            of_partition = [record.offset for record in seen if record.partition == cursor.partition]
            assert of_partition == list(range(cursor.next_offset))
