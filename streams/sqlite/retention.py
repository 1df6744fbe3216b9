"""Drops old records: by age, by size, by a newer value of the same key; never one that a group has not finished.

Each call is one short transaction over a bounded number of records, so that no writer waits long for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from streams.sqlite.schema import records_table
from streams.transport import TopicSpec

CHUNK_RECORDS = 2_000
"""Records dropped in one transaction at most."""

TOMBSTONE_SECONDS = 86_400.0
"""A tombstone is kept for a day, as in Kafka, so that readers without a group see the deletion."""

SIZE = "length(key) + ifnull(length(value), 0) + length(headers)"


def drop(connection: sqlite3.Connection, spec: TopicSpec, partition_id: int, wall: Callable[[], float]) -> bool:
    """Drop one chunk of old records; True while there may be more."""
    if spec.compacted:
        return _compact(connection, partition_id, wall())
    return _expire(connection, spec, partition_id, wall())


def cut(connection: sqlite3.Connection, partition_id: int, before: int) -> None:
    """Drop every record before this offset, finished or not: an operator's decision, which groups see as a gap."""
    (freed,) = connection.execute(
        f"SELECT ifnull(sum({SIZE}), 0) FROM {records_table(partition_id)} WHERE record_offset < ?",  # noqa: S608
        (before,),
    ).fetchone()
    _drop_before(connection, partition_id, before, freed)


def floor(connection: sqlite3.Connection, partition_id: int) -> int:
    """The first offset that some registered group has not finished; the partition's end if there is no group."""
    (lowest,) = connection.execute(
        "SELECT min(CASE WHEN group_id IS NULL THEN partitions.next_offset"
        " ELSE ifnull(claims.next_offset, first_offset) END)"
        " FROM partitions LEFT JOIN claims ON claims.partition_id = partitions.id WHERE partitions.id = ?",
        (partition_id,),
    ).fetchone()
    return int(lowest)


def _expire(connection: sqlite3.Connection, spec: TopicSpec, partition_id: int, wall_seconds: float) -> bool:
    (used,) = connection.execute("SELECT bytes FROM partitions WHERE id = ?", (partition_id,)).fetchone()
    oldest = wall_seconds - spec.retention_seconds if spec.retention_seconds is not None else None
    excess = used - spec.retention_bytes if spec.retention_bytes is not None else 0
    before, dropped, freed = 0, 0, 0
    for offset, timestamp, size in connection.execute(
        f"SELECT record_offset, timestamp, {SIZE} FROM {records_table(partition_id)}"  # noqa: S608
        " WHERE record_offset < ? ORDER BY record_offset LIMIT ?",
        (floor(connection, partition_id), CHUNK_RECORDS),
    ):
        if not (excess > freed or (oldest is not None and timestamp < oldest)):
            break
        before, dropped, freed = offset + 1, dropped + 1, freed + size
    if dropped:
        _drop_before(connection, partition_id, before, freed)
    return dropped == CHUNK_RECORDS


def _drop_before(connection: sqlite3.Connection, partition_id: int, before: int, freed: int) -> None:
    connection.execute(f"DELETE FROM {records_table(partition_id)} WHERE record_offset < ?", (before,))  # noqa: S608
    connection.execute(
        "UPDATE partitions SET first_offset = min(max(first_offset, ?), next_offset), bytes = bytes - ? WHERE id = ?",
        (before, freed, partition_id),
    )


def _compact(connection: sqlite3.Connection, partition_id: int, wall_seconds: float) -> bool:
    table, below = records_table(partition_id), floor(connection, partition_id)
    superseded = (
        f"SELECT record_offset FROM {table} AS old WHERE record_offset < ? AND EXISTS"  # noqa: S608
        f" (SELECT 1 FROM {table} AS new WHERE new.key = old.key AND new.record_offset > old.record_offset) LIMIT ?"
    )
    if _delete(connection, partition_id, superseded, (below, CHUNK_RECORDS)) == CHUNK_RECORDS:
        return True
    # The newest record stays even as a tombstone: a group at the log's end then has no lag.
    tombstones = (
        f"SELECT record_offset FROM {table} WHERE record_offset < ? AND value IS NULL AND timestamp < ?"  # noqa: S608
        f" AND record_offset < (SELECT max(record_offset) FROM {table}) LIMIT ?"
    )
    values = (below, wall_seconds - TOMBSTONE_SECONDS, CHUNK_RECORDS)
    return _delete(connection, partition_id, tombstones, values) == CHUNK_RECORDS


def _delete(connection: sqlite3.Connection, partition_id: int, selection: str, values: tuple[float, ...]) -> int:
    rows = connection.execute(
        f"DELETE FROM {records_table(partition_id)} WHERE record_offset IN ({selection}) RETURNING {SIZE}",  # noqa: S608
        values,
    ).fetchall()
    connection.execute(
        "UPDATE partitions SET bytes = bytes - ? WHERE id = ?", (sum(row[0] for row in rows), partition_id)
    )
    return len(rows)
