"""The log's tables. One table of records per partition, so that every append goes to the right edge of a B-tree."""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x53474C54
"""'SGLT' in the file's header: it is a Sightline log."""

FORMAT = 1
"""`user_version`: a file of a newer format is refused; an older one would be migrated here."""

PAGE_BYTES = 8192
"""A page holds seven 1 KB records; 4 KB pages cost 20 % more per record, 16 KB pages double a small commit's writes."""

TABLES = """
CREATE TABLE topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL,
    retention_seconds REAL, retention_bytes INTEGER, max_record_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL REFERENCES topics, number INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic_id, number)
) STRICT;
CREATE TABLE groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE members (
    id TEXT PRIMARY KEY, group_id INTEGER NOT NULL REFERENCES groups, topics TEXT NOT NULL, process TEXT NOT NULL,
    boot TEXT NOT NULL, expires REAL NOT NULL
) STRICT;
CREATE TABLE claims (
    group_id INTEGER NOT NULL, partition_id INTEGER NOT NULL, owner TEXT, epoch INTEGER NOT NULL DEFAULT 0,
    release_by REAL, next_offset INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, partition_id)
) STRICT, WITHOUT ROWID;
"""
"""`claims` registers a group with a partition and holds its owner (`epoch` is the lease's generation) and position;
`release_by` is the boot time until which an owner that was asked to hand the partition over may drain."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, and set its format and application id."""
    connection.executescript(TABLES)
    connection.execute(f"PRAGMA user_version = {FORMAT:d}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")


def records_table(partition_id: int) -> str:
    return f"records_{partition_id:d}"


def create_records(connection: sqlite3.Connection, partition_id: int, *, compacted: bool) -> None:
    table = records_table(partition_id)
    connection.execute(
        f"CREATE TABLE {table} (record_offset INTEGER PRIMARY KEY, timestamp REAL NOT NULL, key BLOB NOT NULL,"
        " value BLOB, headers BLOB NOT NULL) STRICT"
    )
    if compacted:
        connection.execute(f"CREATE INDEX {table}_key ON {table} (key)")
