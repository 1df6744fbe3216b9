"""Room in a full log: finished records go, oldest first, whatever their retention."""

from __future__ import annotations

import heapq
import sqlite3

from streams.sqlite.retention import SIZE, drop_before, floor
from streams.sqlite.schema import records_table

RUN_RECORDS = 64
"""Records dropped from one partition before the next older one is looked for."""


def make_room(connection: sqlite3.Connection, wanted_bytes: int) -> int:
    """Drop finished records of at least `wanted_bytes`, or all; returns how many. Compacted topics keep theirs."""
    oldest: list[tuple[float, int, int]] = []
    partitions = connection.execute(
        "SELECT partitions.id FROM partitions JOIN topics ON topics.id = topic_id"
        " WHERE NOT compacted AND first_offset < next_offset"
    )
    for (partition_id,) in partitions.fetchall():
        _note(connection, oldest, partition_id, floor(connection, partition_id))
    dropped = freed = 0
    while oldest and freed < wanted_bytes:
        _, partition_id, below = heapq.heappop(oldest)
        until = oldest[0][0] if oldest else float("inf")
        records, size = _drop_run(connection, partition_id, below, until, wanted_bytes - freed)
        dropped, freed = dropped + records, freed + size
        _note(connection, oldest, partition_id, below)
    return dropped


def trim(connection: sqlite3.Connection, limit_bytes: int, step_bytes: int) -> bool:
    """Make room in a log that is larger than its limit, which may have been lowered; True if it could."""
    excess = used_bytes(connection) - limit_bytes
    return excess > 0 and make_room(connection, min(excess, step_bytes)) > 0


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes in use: the file's pages less those that deleted records left free for the next ones."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def who_holds(connection: sqlite3.Connection) -> str:
    """What keeps most bytes from being dropped: a group and a topic."""
    rows = connection.execute(
        "SELECT topics.name, groups.name, sum(partitions.next_offset - max(first_offset, ifnull(c.next_offset, 0)))"
        " FROM partitions JOIN topics ON topics.id = topic_id JOIN claims AS c ON c.partition_id = partitions.id"
        " JOIN groups ON groups.id = c.group_id WHERE NOT compacted GROUP BY 1, 2"
        " UNION ALL SELECT topics.name, plan.value, sum(partitions.next_offset - first_offset)"
        " FROM partitions JOIN topics ON topics.id = topic_id, json_each(finished_by) AS plan WHERE NOT EXISTS"
        " (SELECT 1 FROM claims JOIN groups ON groups.id = group_id WHERE groups.name = plan.value"
        " AND partition_id = partitions.id) GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1"
    ).fetchone()
    return f"group {rows[1]} has not finished {rows[2]} records of {rows[0]}" if rows and rows[2] else ""


def _note(connection: sqlite3.Connection, oldest: list[tuple[float, int, int]], partition_id: int, below: int) -> None:
    """Add the partition with the time stamp of its first finished record, if it has one."""
    first = connection.execute(
        f"SELECT timestamp FROM {records_table(partition_id)} WHERE record_offset < ?"  # noqa: S608 - our own tables
        " ORDER BY record_offset LIMIT 1",
        (below,),
    ).fetchone()
    if first is not None:
        heapq.heappush(oldest, (first[0], partition_id, below))


def _drop_run(
    connection: sqlite3.Connection, partition_id: int, below: int, until: float, wanted_bytes: int
) -> tuple[int, int]:
    """Drop a partition's first records, at least one, none later than `until`; returns their number and bytes."""
    before = records = freed = 0
    for offset, timestamp, size in connection.execute(
        f"SELECT record_offset, timestamp, {SIZE} FROM {records_table(partition_id)}"  # noqa: S608 - our own tables
        " WHERE record_offset < ? ORDER BY record_offset LIMIT ?",
        (below, RUN_RECORDS),
    ):
        if records and (timestamp > until or freed >= wanted_bytes):
            break
        before, records, freed = offset + 1, records + 1, freed + size
    drop_before(connection, partition_id, before, freed)
    return records, freed
