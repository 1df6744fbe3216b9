"""Records as rows: appending them inside a write transaction and reading them back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.sqlite.catalog import Catalog, Topic
from streams.sqlite.schema import records_table
from streams.transport import NewRecord, Partition, Record, TopicSpec

pack_headers = msgspec.msgpack.Encoder().encode
unpack_headers = msgspec.msgpack.Decoder(dict[str, bytes]).decode
topic_of = attrgetter("topic")
number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

READ_BYTES = 32 << 20
"""A read ends after this many bytes of values, however many records were asked for: pictures travel in records."""

LOTS = (64, 32, 16, 8, 4, 2, 1)
"""Rows of one INSERT: a fifth faster than row by row, and the interpreter lock is given away once a statement."""

FIELDS = 3
"""Of a record in a `Share`."""

Row = tuple[int, float, bytes, bytes | None, bytes]
"""Offset, timestamp, key, value, headers."""

READ_RECORDS = 64
"""Looked at together; a read goes over `READ_BYTES` by these at most."""


class Share:
    """One partition's share of a batch. `fields` are each record's key, value and packed headers, one after another."""

    __slots__ = ("bytes", "compacted", "fields", "headers")

    def __init__(self, *, compacted: bool) -> None:
        self.fields: list[Any] = []
        self.headers: list[Mapping[str, bytes]] = []
        self.bytes = 0
        self.compacted = compacted


class Batch:
    """Records sorted into their partitions, checked and packed, ready to be appended.

    `first_offsets` and `timestamp` tell where they were appended, once they are.
    """

    def __init__(self, catalog: Catalog, outgoing: Iterable[NewRecord]) -> None:
        """Raises PlanError for an unknown topic or a tombstone out of place, TooLarge for a record over the limit."""
        self.shares: dict[int, Share] = {}
        self.first_offsets: dict[int, int] = {}
        self.timestamp = 0.0
        for name, records in groupby(outgoing, topic_of):
            self._add(catalog.topic(name), records)

    def total_bytes(self) -> int:
        return sum(share.bytes for share in self.shares.values())

    def append(self, connection: sqlite3.Connection, timestamp: float) -> None:
        for partition_id, share in self.shares.items():
            records = len(share.headers)
            (following,) = connection.execute(
                "UPDATE partitions SET next_offset = next_offset + ?, bytes = bytes + ? WHERE id = ?"
                " RETURNING next_offset",
                (records, share.bytes, partition_id),
            ).fetchone()
            self.first_offsets[partition_id] = first = following - records
            _insert(connection, records_table(partition_id), first, timestamp, share.fields)
        self.timestamp = timestamp

    def _add(self, topic: Topic, records: Iterable[NewRecord]) -> None:
        """Called with every record of a batch: the busiest lines of the log."""
        spec, ids, shares = topic.spec, topic.partition_ids, self.shares
        for record in records:
            key, value, headers = record.key, record.value, record.headers
            packed = pack_headers(headers)
            size = len(key) + len(packed) + (len(value) if value is not None else _tombstone(spec))
            if size > spec.max_record_bytes:
                raise TooLarge(f"{spec.name}: a record of {size} bytes, at most {spec.max_record_bytes}")
            partition_id = ids[number_of(key, spec.partitions)]
            if (share := shares.get(partition_id)) is None:
                share = shares[partition_id] = Share(compacted=spec.compacted)
            share.fields += (key, value, packed)
            share.headers.append(headers)
            share.bytes += size


def _insert(connection: sqlite3.Connection, table: str, first_offset: int, timestamp: float, fields: list[Any]) -> None:
    """Insert records that follow each other with as few statements as their number allows."""
    done, records = 0, len(fields) // FIELDS
    for lot in LOTS:
        while records - done >= lot:
            part = fields[FIELDS * done : FIELDS * (done + lot)]
            connection.execute(_insertion(table, lot), (first_offset + done, timestamp, *part))
            done += lot


@lru_cache(4096)
def _insertion(table: str, records: int) -> str:
    rows = ", ".join(f"(?1 + {at:d}, ?2, ?, ?, ?)" for at in range(records))
    return f"INSERT INTO {table} VALUES {rows}"  # noqa: S608 - our own tables


def _tombstone(spec: TopicSpec) -> int:
    if not spec.compacted:
        raise PlanError([f"{spec.name}: a tombstone, but the topic is not compacted"])
    return 0


def read_rows(connection: sqlite3.Connection, partition_id: int, offset: int, limit: int) -> tuple[list[Row], int]:
    """At most `limit` records from `offset` on, and their values' bytes; fewer where they are large, at least one."""
    cursor = connection.execute(
        f"SELECT record_offset, timestamp, key, value, headers FROM {records_table(partition_id)}"  # noqa: S608
        " WHERE record_offset >= ? ORDER BY record_offset LIMIT ?",
        (offset, limit),
    )
    rows: list[Row] = []
    size = 0
    while size < READ_BYTES and (chunk := cursor.fetchmany(READ_RECORDS)):
        rows += chunk
        size += sum([len(row[3] or b"") for row in chunk])
    cursor.close()
    return rows, size


def to_records(rows: Iterable[Row], partition: Partition, epoch: int) -> list[Record]:
    """Not in the reader's thread, which hands the interpreter lock to and fro with the writer's."""
    return [
        Record(partition, at, epoch, key, value, unpack_headers(headers), timestamp)
        for at, timestamp, key, value, headers in rows
    ]


def offsets(connection: sqlite3.Connection, partition_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """First and next offset of each partition."""
    rows = connection.execute(
        "SELECT id, first_offset, next_offset FROM partitions WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(partition_ids)),),
    )
    return {at: (first, following) for at, first, following in rows}
