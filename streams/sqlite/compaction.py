"""Topics that keep the last value per key: an older value goes once every group has finished the newer one.

Each call is one short transaction: it looks at the records that came since the last one, not at the whole topic.
"""

from __future__ import annotations

import sqlite3

from streams.sqlite.retention import CHUNK_RECORDS, SIZE, Dropped, floor
from streams.sqlite.schema import records_table

TOMBSTONE_SECONDS = 86_400.0
"""A tombstone is kept for a day, as in Kafka, so that readers without a group see the deletion."""


def compact(connection: sqlite3.Connection, partition_id: int, now: float | None) -> Dropped:
    """Drop one chunk of superseded values and old tombstones; `now` None: tombstones stay."""
    table, below = records_table(partition_id), floor(connection, partition_id)
    (start,) = connection.execute("SELECT compacted_to FROM partitions WHERE id = ?", (partition_id,)).fetchone()
    end = min(below, start + CHUNK_RECORDS)
    dropped = 0
    if end > start:
        superseded = (
            f"SELECT old.record_offset FROM (SELECT key, max(record_offset) AS newest FROM {table}"  # noqa: S608
            f" WHERE record_offset >= ? AND record_offset < ? GROUP BY +key) AS new JOIN {table} AS old"
            " ON old.key = new.key AND old.record_offset < new.newest"
        )
        dropped = _delete(connection, partition_id, superseded, (start, end))
        connection.execute("UPDATE partitions SET compacted_to = ? WHERE id = ?", (end, partition_id))
    if now is not None:
        # The newest record stays even as a tombstone: a group at the log's end then has no lag.
        tombstones = (
            f"SELECT record_offset FROM {table} WHERE value IS NULL AND timestamp < ? AND record_offset < ?"  # noqa: S608
            f" AND record_offset < (SELECT max(record_offset) FROM {table}) LIMIT ?"
        )
        values = (now - TOMBSTONE_SECONDS, min(below, end), CHUNK_RECORDS)
        dropped += _delete(connection, partition_id, tombstones, values)
    return Dropped(dropped, is_last=end == below and dropped < CHUNK_RECORDS)


def _delete(connection: sqlite3.Connection, partition_id: int, selection: str, values: tuple[float, ...]) -> int:
    rows = connection.execute(
        f"DELETE FROM {records_table(partition_id)} WHERE record_offset IN ({selection}) RETURNING {SIZE}",  # noqa: S608
        values,
    ).fetchall()
    if rows:
        connection.execute(
            "UPDATE partitions SET bytes = bytes - ? WHERE id = ?", (sum(row[0] for row in rows), partition_id)
        )
    return len(rows)
