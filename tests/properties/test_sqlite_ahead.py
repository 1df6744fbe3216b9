"""What this process wrote is handed to its consumer from memory: the same records, in the same order, as in the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import hypothesis.strategies as st
from hypothesis import given

from streams.sqlite.ahead import AHEAD_BYTES, RecordRange
from streams.sqlite.catalog import Catalog
from streams.sqlite.fetch import Cursor, fetch
from streams.sqlite.rows import FIELDS, READ_BYTES, READ_RECORDS, Batch, read_rows, to_records
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
        self.cursors = {at: Cursor(at, Partition("t", number), EPOCH, 0) for number, at in enumerate(ids)}

    def publish(self, count: int, *, size: int = 1) -> Batch:
        numbers = range(self.written, self.written + count)
        self.written += count
        batch = Batch(
            self.catalog,
            [NewRecord("t", b"%d" % (at % 5), b"%d" % at * size, {"number": b"%d" % at}) for at in numbers],
        )
        batch.append(self.connection, float(self.written))
        return batch

    def remember(self, batch: Batch) -> None:
        for at, share in batch.shares.items():
            self.cursors[at].remember(RecordRange(batch.first_offsets[at], batch.timestamp, share))

    def poll(self, count: int) -> list[Record]:
        turns = [(cursor, tuple(cursor.ahead.stretches)) for cursor in self.cursors.values()]
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


@given(st.lists(st.tuples(st.sampled_from(["ours", "others", "ours, heard late", "poll"]), COUNTS), max_size=30))
def test_whoever_wrote_it_everything_comes_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    with new_log() as log:
        seen: list[Record] = []
        late: list[Batch] = []
        for step, count in steps:
            if step == "poll":
                seen += log.poll(count)
                for batch in late:
                    log.remember(batch)
                late.clear()
            elif (batch := log.publish(count)) and step == "ours":
                log.remember(batch)
            elif step == "ours, heard late":
                late.append(batch)
        while records := log.poll(7):
            seen += records
        assert sorted(seen, key=lambda record: record.partition.index) == log.all()
        assert all(not cursor.ahead.stretches and not cursor.ahead.size_bytes for cursor in log.cursors.values())


def test_what_was_written_here_is_not_read_back() -> None:
    with new_log() as log:
        batch = log.publish(40)
        log.remember(batch)
        published = [value for share in batch.shares.values() for value in share.fields[1::FIELDS]]
        received = [record.value for record in log.poll(100)]
        assert all(mine is theirs for mine, theirs in zip(published, received, strict=True))


def test_a_consumer_that_falls_behind_holds_no_more_than_its_share() -> None:
    with new_log() as log:
        for _ in range(12):
            log.remember(log.publish(10, size=50_000))
        held = [cursor.ahead.size_bytes for cursor in log.cursors.values()]
        assert all(AHEAD_BYTES // 2 < size <= AHEAD_BYTES for size in held)
        seen = [record for _ in range(20) for record in log.poll(9)]
        assert sorted(seen, key=lambda record: record.partition.index) == log.all()


def test_a_read_that_ends_early_for_its_size_skips_nothing() -> None:
    """A read ends after 32 MiB: what lies ahead behind its end has to wait."""
    with new_log() as log:
        log.publish(3 * READ_RECORDS, size=READ_BYTES // READ_RECORDS // 2)
        log.remember(log.publish(20))
        seen: list[Record] = []
        while records := log.poll(1_000):
            seen += records
        for cursor in log.cursors.values():
            mine = [record.offset for record in seen if record.partition == cursor.partition]
            assert mine == list(range(cursor.next_offset))
