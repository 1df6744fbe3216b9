"""Drops old records of a partition, always its first ones: by age, by size; never one that a group has not finished.

Each call is one short transaction over a bounded number of records, so that no writer waits long for it. Topics that
keep the last value per key are `compaction`'s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from streams.sqlite.schema import records_table
from streams.transport import TopicSpec

CHUNK_RECORDS, CHUNK_BYTES = 2_000, 16 << 20
"""What one transaction drops: it writes as many bytes to the write-ahead log, over what was there, on a disk that may
be almost full."""

FUTURE_SECONDS = 300.0
"""A record that is stamped later than this after now was written by a clock that ran ahead: its stamp says nothing."""

SIZE = "length(key) + ifnull(length(value), 0) + length(headers)"

FLOOR = """
SELECT min(position) FROM (
    SELECT next_offset AS position FROM partitions WHERE id = ?1
    UNION ALL
    SELECT ifnull(claims.next_offset, first_offset) FROM claims JOIN partitions ON partitions.id = partition_id
    WHERE partition_id = ?1
    UNION ALL
    SELECT first_offset FROM partitions JOIN topics ON topics.id = topic_id, json_each(finished_by) AS plan
    WHERE partitions.id = ?1 AND NOT EXISTS (
        SELECT 1 FROM claims JOIN groups ON groups.id = group_id WHERE name = plan.value AND partition_id = ?1
    )
)
"""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one call did; `is_last` unless there may be more to drop."""

    records: int = 0
    is_last: bool = True
    restamped: int = 0
    """Records whose time stamp was in the future and is now the present."""


def floor(connection: sqlite3.Connection, partition_id: int) -> int:
    """The first offset that a registered group, or one that the plan names, has not finished; without one, the end."""
    return int(connection.execute(FLOOR, (partition_id,)).fetchone()[0])


def expire(connection: sqlite3.Connection, spec: TopicSpec, partition_id: int, now: float | None) -> Dropped:
    """Drop one chunk of records beyond the topic's age or size. `now` None: the clock says nothing, size alone counts.

    A record from the future was appended before the next one, so it goes with that one; the last one of them is
    stamped with the present, so that it, and what lies before it, goes in its time.
    """
    (used,) = connection.execute("SELECT bytes FROM partitions WHERE id = ?", (partition_id,)).fetchone()
    excess = used - spec.retention_bytes if spec.retention_bytes is not None else 0
    oldest = now - spec.retention_seconds if now is not None and spec.retention_seconds is not None else None
    if excess <= 0 and oldest is None:
        return Dropped()
    below = floor(connection, partition_id)
    chunk = _expired(_oldest_first(connection, partition_id, below), excess, oldest, now)
    if chunk.records:
        drop_before(connection, partition_id, chunk.before, chunk.size_bytes)
    if now is None or chunk.from_future is None or (chunk.records and not chunk.is_last):
        return Dropped(chunk.records, chunk.is_last)
    stamp = _restamp(connection, partition_id, chunk.from_future, below, now)
    return Dropped(chunk.records, is_last=chunk.is_last or oldest is None or stamp >= oldest, restamped=1)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The first records of a partition that go: those before an offset."""

    before: int = 0
    records: int = 0
    size_bytes: int = 0
    from_future: int | None = None
    """The last of those behind them that are stamped in the future, where no other one was seen behind these."""
    is_last: bool = True
    """Whether the next record was looked at, and stays; or there is none."""


def _expired(rows: Iterable[tuple[int, float, int]], excess: int, oldest: float | None, now: float | None) -> _Chunk:
    chunk, seen, seen_bytes = _Chunk(), 0, 0
    for offset, timestamp, size in rows:
        if _is_full(seen, seen_bytes):
            return replace(chunk, is_last=False)
        seen, seen_bytes = seen + 1, seen_bytes + size
        if excess > seen_bytes - size or (oldest is not None and timestamp < oldest):
            chunk = _Chunk(offset + 1, seen, seen_bytes)
        elif now is not None and timestamp > now + FUTURE_SECONDS:
            chunk = replace(chunk, from_future=offset)
        else:
            return replace(chunk, from_future=None)
    return chunk


def cut(connection: sqlite3.Connection, partition_id: int, before: int) -> bool:
    """Drop one chunk of the records before this offset, finished or not; True while there are more.

    It is an operator's decision, which groups see as a gap.
    """
    seen = freed = 0
    for offset, _, size in _oldest_first(connection, partition_id, before):
        if _is_full(seen, freed):
            drop_before(connection, partition_id, offset, freed)
            return True
        seen, freed = seen + 1, freed + size
    drop_before(connection, partition_id, before, freed)
    return False


def erase(connection: sqlite3.Connection, partition_id: int, offsets: Sequence[int]) -> list[int]:
    """Remove single records that every group has finished; returns the offsets of the others."""
    below = floor(connection, partition_id)
    finished = [offset for offset in offsets if offset < below]
    freed = connection.execute(
        f"DELETE FROM {records_table(partition_id)} WHERE record_offset IN (SELECT value FROM json_each(?))"  # noqa: S608
        f" RETURNING {SIZE}",
        (json.dumps(finished),),
    ).fetchall()
    connection.execute(
        "UPDATE partitions SET bytes = bytes - ?, erased = erased + ? WHERE id = ?",
        (sum(row[0] for row in freed), len(freed), partition_id),
    )
    return [offset for offset in offsets if offset >= below]


def drop_before(connection: sqlite3.Connection, partition_id: int, before: int, freed: int) -> None:
    connection.execute(f"DELETE FROM {records_table(partition_id)} WHERE record_offset < ?", (before,))  # noqa: S608
    connection.execute(
        "UPDATE partitions SET first_offset = min(max(first_offset, ?), next_offset), bytes = bytes - ? WHERE id = ?",
        (before, freed, partition_id),
    )


def _oldest_first(connection: sqlite3.Connection, partition_id: int, below: int) -> sqlite3.Cursor:
    """Offset, time stamp and size of records below an offset, one more than a chunk; read one by one."""
    return connection.execute(
        f"SELECT record_offset, timestamp, {SIZE} FROM {records_table(partition_id)}"  # noqa: S608
        " WHERE record_offset < ? ORDER BY record_offset LIMIT ?",
        (below, CHUNK_RECORDS + 1),
    )


def _is_full(records: int, size_bytes: int) -> bool:
    return records >= CHUNK_RECORDS or size_bytes >= CHUNK_BYTES


def _restamp(connection: sqlite3.Connection, partition_id: int, offset: int, below: int, now: float) -> float:
    """Stamp the record at `offset`, which ends a run of records from the future or is within one; returns the stamp.

    It is that of the next record whose stamp is believed, else the present. In a run that goes on behind `offset`, one
    record of every chunk and the last one are stamped too: all of them go in their time, not one chunk after the other.
    """
    table = records_table(partition_id)
    next_one = connection.execute(
        f"SELECT record_offset, timestamp FROM {table} WHERE record_offset > ? AND record_offset < ?"  # noqa: S608
        " AND timestamp <= ? ORDER BY record_offset LIMIT 1",
        (offset, below, now + FUTURE_SECONDS),
    ).fetchone()
    end, stamp = next_one or (below, now)
    connection.execute(
        f"UPDATE {table} SET timestamp = ?1 WHERE record_offset >= ?2 AND record_offset < ?3"  # noqa: S608
        " AND (record_offset = ?2 OR record_offset % ?4 = 0"
        f" OR record_offset = (SELECT max(record_offset) FROM {table} WHERE record_offset < ?3))",
        (stamp, offset, end, CHUNK_RECORDS),
    )
    return float(stamp)
