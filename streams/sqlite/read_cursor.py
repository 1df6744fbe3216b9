"""Reads the records of one poll: on one snapshot, taking turns between partitions, reporting gaps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from streams.sqlite.read_ahead import ReadAheadCache, RecordRange
from streams.sqlite.record_rows import READ_BYTES, offsets, read_rows, to_records
from streams.transport import Partition, Record

ToRecords = Callable[[Partition, int], list[Record]]
"""Makes records of what was read, given their partition and epoch: in the event loop, not in the reader's thread."""


@dataclass(slots=True)
class ReadCursor:
    """The next offset to read in a held partition. `parked` after a gap: the partition is held, but not read."""

    partition_id: int
    partition: Partition
    epoch: int
    next_offset: int
    parked: bool = False
    read_ahead: ReadAheadCache = field(default_factory=ReadAheadCache)

    def cache(self, new: RecordRange) -> None:
        """Keep records that this process has written, if they lie ahead."""
        if new.end > self.next_offset:
            self.read_ahead.add(new)

    def move(self, offset: int) -> None:
        self.next_offset = offset
        self.read_ahead.drop_before(offset)


Turn = tuple[ReadCursor, Sequence[RecordRange]]
"""A cursor with its read-ahead as the poll began: the cache itself belongs to the event loop."""


@dataclass(slots=True)
class Fetched:
    """Runs of records by partition in offset order, with the epoch in which they were read.

    `gaps` are cursors whose next record is gone, with the log's start. `version` is the group's, of that snapshot.
    """

    version: int
    runs: list[tuple[ReadCursor, int, ToRecords]] = field(default_factory=list)
    gaps: list[tuple[ReadCursor, int]] = field(default_factory=list)

    def accept(self) -> list[Record]:
        """The records; their cursors move past them."""
        records: list[Record] = []
        for cursor, epoch, to_run in self.runs:
            records += to_run(cursor.partition, epoch)
            cursor.move(records[-1].offset + 1)
        return records


def fetch(connection: sqlite3.Connection, version: int, turns: Sequence[Turn], max_records: int) -> Fetched:
    """At most `max_records` records, in equal shares; the first cursors are served first."""
    fetched = Fetched(version)
    ends = offsets(connection, [cursor.partition_id for cursor, _ in turns])
    ready = []
    for turn in turns:
        first, following = ends[turn[0].partition_id]
        if turn[0].next_offset < first:
            fetched.gaps.append((turn[0], first))
        elif turn[0].next_offset < following:
            ready.append(turn)
    left, left_bytes = max_records, READ_BYTES
    for served, (cursor, ahead) in enumerate(ready):
        share = -(-left // (len(ready) - served))
        for start, stop, cached in _pieces(cursor.next_offset, cursor.next_offset + share, ahead):
            if cached is not None:
                fetched.runs.append((cursor, cursor.epoch, partial(cached.records, start, stop)))
                left -= stop - start
                continue
            rows, size = read_rows(connection, cursor.partition_id, start, stop - start)
            left, left_bytes = left - len(rows), left_bytes - size
            if rows:
                fetched.runs.append((cursor, cursor.epoch, partial(to_records, rows)))
            if len(rows) < stop - start:
                break
        if left <= 0 or left_bytes <= 0:
            break
    return fetched


def _pieces(start: int, stop: int, ahead: Sequence[RecordRange]) -> Iterator[tuple[int, int, RecordRange | None]]:
    """The offsets from `start` to before `stop`, in pieces, each with the cached range that holds it; None: none."""
    for cached in ahead:
        if cached.first_offset >= stop:
            break
        if cached.first_offset > start:
            yield start, cached.first_offset, None
            start = cached.first_offset
        yield start, min(cached.end, stop), cached
        start = min(cached.end, stop)
    if start < stop:
        yield start, stop, None
