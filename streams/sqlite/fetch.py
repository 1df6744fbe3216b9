"""What one poll reads: on one snapshot, taking turns between partitions, noticing what has gone missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from streams.sqlite.ahead import ReadAheadCache, RecordRange
from streams.sqlite.rows import READ_BYTES, offsets, read_rows, to_records
from streams.transport import Partition, Record

ToRecords = Callable[[Partition, int], list[Record]]
"""Makes records of what was read, given their partition and epoch: in the event loop, not in the reader's thread."""


@dataclass(slots=True)
class Cursor:
    """Where reading stands in a held partition. `parked` after a gap: the partition is held, but stands still."""

    partition_id: int
    partition: Partition
    epoch: int
    next_offset: int
    parked: bool = False
    ahead: ReadAheadCache = field(default_factory=ReadAheadCache)

    def remember(self, stretch: RecordRange) -> None:
        if stretch.end > self.next_offset:
            self.ahead.add(stretch)

    def move(self, offset: int) -> None:
        self.next_offset = offset
        self.ahead.passed(offset)


Turn = tuple[Cursor, Sequence[RecordRange]]
"""A cursor with what lay ahead of it when the poll began: the deque itself belongs to the event loop."""


@dataclass(slots=True)
class Fetched:
    """Runs of records by partition in offset order, with the epoch in which they were read.

    `gaps` are cursors whose next record is gone, with the log's start.
    """

    version: int
    runs: list[tuple[Cursor, int, ToRecords]] = field(default_factory=list)
    gaps: list[tuple[Cursor, int]] = field(default_factory=list)

    def accept(self) -> list[Record]:
        """The records; their cursors move past them."""
        records: list[Record] = []
        for cursor, epoch, make in self.runs:
            records += make(cursor.partition, epoch)
            cursor.move(records[-1].offset + 1)
        return records


def fetch(connection: sqlite3.Connection, version: int, turns: Sequence[Turn], max_records: int) -> Fetched:
    """At most `max_records` records; the first cursors come first, and none is left out while it has a share."""
    fetched = Fetched(version)
    ends = offsets(connection, [cursor.partition_id for cursor, _ in turns])
    ready = []
    for turn in turns:
        first, following = ends[turn[0].partition_id]
        if turn[0].next_offset < first:
            fetched.gaps.append((turn[0], first))
        elif turn[0].next_offset < following:
            ready.append(turn)
    room, room_bytes = max_records, READ_BYTES
    for place, (cursor, ahead) in enumerate(ready):
        part = -(-room // (len(ready) - place))
        for start, stop, stretch in _pieces(cursor.next_offset, cursor.next_offset + part, ahead):
            if stretch is not None:
                fetched.runs.append((cursor, cursor.epoch, partial(stretch.records, start, stop)))
                room -= stop - start
                continue
            rows, size = read_rows(connection, cursor.partition_id, start, stop - start)
            room, room_bytes = room - len(rows), room_bytes - size
            if rows:
                fetched.runs.append((cursor, cursor.epoch, partial(to_records, rows)))
            if len(rows) < stop - start:
                break
        if room <= 0 or room_bytes <= 0:
            break
    return fetched


def _pieces(start: int, stop: int, ahead: Sequence[RecordRange]) -> Iterator[tuple[int, int, RecordRange | None]]:
    """The offsets from `start` to before `stop`, each piece with the stretch that holds it; None: it is to be read."""
    for stretch in ahead:
        if stretch.first_offset >= stop:
            break
        if stretch.first_offset > start:
            yield start, stretch.first_offset, None
            start = stretch.first_offset
        yield start, min(stretch.end, stop), stretch
        start = min(stretch.end, stop)
    if start < stop:
        yield start, stop, None
