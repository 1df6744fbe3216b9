"""What one poll reads: on one snapshot, taking turns between partitions, noticing what has gone missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.sqlite.rows import READ_BYTES, Row, offsets, read_rows, to_records
from streams.transport import Partition, Record


@dataclass(slots=True)
class Cursor:
    """Where reading stands in a held partition. `parked` after a gap: the partition is held, but stands still."""

    partition_id: int
    partition: Partition
    epoch: int
    next_offset: int
    parked: bool = False


@dataclass(slots=True)
class Fetched:
    """Rows by partition in offset order, with the epoch in which they were read.

    `gaps` are cursors whose next record is gone, with the log's start.
    """

    version: int
    runs: list[tuple[Cursor, int, list[Row]]] = field(default_factory=list)
    gaps: list[tuple[Cursor, int]] = field(default_factory=list)

    def accept(self) -> list[Record]:
        """The records; their cursors move past them."""
        records: list[Record] = []
        for cursor, epoch, rows in self.runs:
            records += to_records(cursor.partition, epoch, rows)
            cursor.next_offset = records[-1].offset + 1
        return records


def fetch(connection: sqlite3.Connection, version: int, cursors: Sequence[Cursor], max_records: int) -> Fetched:
    """At most `max_records` records; the first cursors come first, and none is left out while it has a share."""
    fetched = Fetched(version)
    ends = offsets(connection, [cursor.partition_id for cursor in cursors])
    ready = []
    for cursor in cursors:
        first, following = ends[cursor.partition_id]
        if cursor.next_offset < first:
            fetched.gaps.append((cursor, first))
        elif cursor.next_offset < following:
            ready.append(cursor)
    room, room_bytes = max_records, READ_BYTES
    for place, cursor in enumerate(ready):
        part = -(-room // (len(ready) - place))
        rows, size = read_rows(connection, cursor.partition_id, cursor.next_offset, part)
        if rows:
            fetched.runs.append((cursor, cursor.epoch, rows))
        room, room_bytes = room - len(rows), room_bytes - size
        if room <= 0 or room_bytes <= 0:
            break
    return fetched
