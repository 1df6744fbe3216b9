"""The log's tables. One table of records per partition, so that every append goes to the right edge of a B-tree."""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x53474C54
"""'SGLT' in the file's header: it is a Sightline log."""

FORMAT = 2
"""`user_version`: a file of a newer format is refused; format 1 is migrated when it is opened."""

PAGE_BYTES = 8192
"""A page holds seven 1 KB records; 4 KB pages cost 20 % more per record, 16 KB pages double a small commit's writes."""

TABLES = """
CREATE TABLE topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL,
    retention_seconds REAL, retention_bytes INTEGER, max_record_bytes INTEGER NOT NULL,
    finished_by TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL REFERENCES topics, number INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    compacted_to INTEGER NOT NULL DEFAULT 0, erased INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic_id, number)
) STRICT;
CREATE TABLE groups (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL DEFAULT 0, seen REAL
) STRICT;
CREATE TABLE members (
    id TEXT PRIMARY KEY, group_id INTEGER NOT NULL REFERENCES groups, topics TEXT NOT NULL, process TEXT NOT NULL,
    boot TEXT NOT NULL, expires REAL NOT NULL
) STRICT;
CREATE TABLE claims (
    group_id INTEGER NOT NULL, partition_id INTEGER NOT NULL, owner TEXT, epoch INTEGER NOT NULL DEFAULT 0,
    release_by REAL, next_offset INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, partition_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE clock (
    is_trusted INTEGER PRIMARY KEY, wall REAL NOT NULL, boot REAL NOT NULL, boot_id TEXT NOT NULL
) STRICT;
"""
"""`topics.finished_by` is a JSON list of groups that must finish a record before it is dropped. `claims` registers a
group with a partition and holds its owner (`epoch` is the lease's generation) and position; `release_by` is the boot
time until which an owner that was asked to hand the partition over may drain. `groups.seen` is the wall time of the
last renewal or commit. `partitions.compacted_to`: below it every key is there once; `erased` counts single records
that are gone. `clock`: see `wall_clock`."""

CHANGES_OF_FORMAT_2 = """
ALTER TABLE topics ADD COLUMN finished_by TEXT NOT NULL DEFAULT '[]';
ALTER TABLE partitions ADD COLUMN compacted_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE partitions ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN seen REAL;
CREATE TABLE clock (
    is_trusted INTEGER PRIMARY KEY, wall REAL NOT NULL, boot REAL NOT NULL, boot_id TEXT NOT NULL
) STRICT;
"""

RECORD_COLUMNS = (
    "record_offset INTEGER PRIMARY KEY, timestamp REAL NOT NULL, key BLOB NOT NULL, value BLOB,"
    " headers BLOB NOT NULL, checksum INTEGER"
)
"""`checksum` is the CRC-32 of key, value and headers; NULL in records of format 1."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, and set its format and application id."""
    connection.executescript(TABLES)
    connection.execute(f"PRAGMA user_version = {FORMAT:d}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a log of format 1 to this one, in one transaction; no record is read. Another process may do it first."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
            for change in filter(str.strip, CHANGES_OF_FORMAT_2.split(";")):
                connection.execute(change)
            for partition_id, compacted in connection.execute(
                "SELECT partitions.id, compacted FROM partitions JOIN topics ON topics.id = topic_id"
            ).fetchall():
                connection.execute(f"ALTER TABLE {records_table(partition_id)} ADD COLUMN checksum INTEGER")
                _create_indexes(connection, partition_id, compacted=compacted)
            connection.execute(f"PRAGMA user_version = {FORMAT:d}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def records_table(partition_id: int) -> str:
    return f"records_{partition_id:d}"


def create_records(connection: sqlite3.Connection, partition_id: int, *, compacted: bool) -> None:
    connection.execute(f"CREATE TABLE {records_table(partition_id)} ({RECORD_COLUMNS}) STRICT")
    _create_indexes(connection, partition_id, compacted=compacted)


def _create_indexes(connection: sqlite3.Connection, partition_id: int, *, compacted: bool) -> None:
    if compacted:
        table = records_table(partition_id)
        connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_key ON {table} (key)")
        connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_tombstones ON {table} (timestamp) WHERE value IS NULL")
