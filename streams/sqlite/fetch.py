"""What one poll reads: on one snapshot, taking turns between partitions, noticing what has gone missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.sqlite.rows import READ_BYTES, offsets, read_rows
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
    """Records by partition in offset order and where that leaves their cursors.

    `gaps` are cursors whose next record is gone, with the log's start.
    """

    version: int
    records: list[Record] = field(default_factory=list)
    read_to: list[tuple[Cursor, int]] = field(default_factory=list)
    gaps: list[tuple[Cursor, int]] = field(default_factory=list)


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
        records, size = read_rows(
            connection, cursor.partition_id, cursor.partition, cursor.epoch, cursor.next_offset, part
        )
        if records:
            fetched.records += records
            fetched.read_to.append((cursor, records[-1].offset + 1))
        room, room_bytes = room - len(records), room_bytes - size
        if room <= 0 or room_bytes <= 0:
            break
    return fetched
