"""Rows of the log read back as records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from zlib import crc32

import msgspec

from streams.sqlite.failures import DamagedRecord
from streams.sqlite.schema import records_table
from streams.transport import Partition, Record

unpack_headers = msgspec.msgpack.Decoder(dict[str, bytes]).decode

READ_BYTES = 32 << 20
"""A read ends after this many bytes of values, whatever its limit in records: pictures travel in records."""

CHUNK_RECORDS = 64
"""Records fetched at once; a read exceeds `READ_BYTES` by one chunk at most."""

Row = tuple[int, float, bytes, bytes | None, bytes, int | None]
"""Offset, timestamp, key, value, headers, checksum; no checksum in records of format 1."""


def read_rows(connection: sqlite3.Connection, partition_id: int, offset: int, limit: int) -> tuple[list[Row], int]:
    """At most `limit` records from `offset` on, and their values' bytes; fewer where they are large, at least one."""
    selected = connection.execute(
        f"SELECT record_offset, timestamp, key, value, headers, checksum FROM {records_table(partition_id)}"  # noqa: S608
        " WHERE record_offset >= ? ORDER BY record_offset LIMIT ?",
        (offset, limit),
    )
    rows: list[Row] = []
    size = 0
    while size < READ_BYTES and (chunk := selected.fetchmany(CHUNK_RECORDS)):
        rows += chunk
        size += sum([len(row[3] or b"") for row in chunk])
    selected.close()
    return rows, size


def to_records(rows: Iterable[Row], partition: Partition, epoch: int) -> list[Record]:
    """Called in the event loop: the reader's thread would pass the interpreter lock to and fro with the writer's.

    Raises DamagedRecord for one that is not as it was written.
    """
    records = []
    for offset, timestamp, key, value, headers, checksum in rows:
        if checksum is not None and checksum != crc32(headers, crc32(value, crc32(key)) if value else crc32(key)):
            raise DamagedRecord(f"{partition.topic}[{partition.index}] offset {offset}: its bytes were changed on disk")
        try:
            unpacked = unpack_headers(headers)
        except msgspec.MsgspecError as error:
            raise DamagedRecord(f"{partition.topic}[{partition.index}] offset {offset}: {error}") from error
        records.append(Record(partition, offset, epoch, key, value, unpacked, timestamp))
    return records


def offsets(connection: sqlite3.Connection, partition_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """First and next offset of each partition."""
    rows = connection.execute(
        "SELECT id, first_offset, next_offset FROM partitions WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(partition_ids)),),
    )
    return {partition_id: (first, following) for partition_id, first, following in rows}


def has_record(connection: sqlite3.Connection, partition_id: int, offset: int) -> bool:
    """Whether there is one at `offset` or behind it: the last offsets may have been erased."""
    query = f"SELECT 1 FROM {records_table(partition_id)} WHERE record_offset >= ? LIMIT 1"  # noqa: S608
    return connection.execute(query, (offset,)).fetchone() is not None
