"""Records as rows: appending them inside a write transaction and reading them back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain, count, groupby, repeat
from operator import attrgetter

import msgspec

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.sqlite.catalog import Catalog, Topic
from streams.sqlite.schema import records_table
from streams.transport import Outgoing, Partition, Record, TopicSpec

pack_headers = msgspec.msgpack.Encoder().encode
unpack_headers = msgspec.msgpack.Decoder(dict[str, bytes]).decode
topic_of = attrgetter("topic")
number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

READ_BYTES = 32 << 20
"""A read ends after this many bytes of values, however many records were asked for: pictures travel in records."""

LOTS = (64, 32, 16, 8, 4, 2, 1)
"""Rows of one INSERT: a fifth faster than row by row, and the interpreter lock is given away once a statement."""

FIELDS = 5
Row = tuple[int, float, bytes, bytes | None, bytes]
"""Offset, timestamp, key, value, headers."""

READ_RECORDS = 64
"""Looked at together; a read goes over `READ_BYTES` by these at most."""


class Columns:
    """One partition's share of a batch, column by column; `packed` are the headers as they are stored."""

    __slots__ = ("bytes", "compacted", "headers", "keys", "packed", "values")

    def __init__(self, *, compacted: bool) -> None:
        self.keys: list[bytes] = []
        self.values: list[bytes | None] = []
        self.headers: list[Mapping[str, bytes]] = []
        self.packed: list[bytes] = []
        self.bytes = 0
        self.compacted = compacted


class Batch:
    """Records sorted into their partitions, checked and packed, ready to be appended.

    `first_offsets` and `timestamp` tell where they were appended, once they are.
    """

    def __init__(self, catalog: Catalog, outgoing: Iterable[Outgoing]) -> None:
        """Raises PlanError for an unknown topic or a tombstone out of place, TooLarge for a record over the limit."""
        self.columns: dict[int, Columns] = {}
        self.first_offsets: dict[int, int] = {}
        self.timestamp = 0.0
        for name, records in groupby(outgoing, topic_of):
            self._add(catalog.topic(name), records)

    def total_bytes(self) -> int:
        return sum(columns.bytes for columns in self.columns.values())

    def append(self, connection: sqlite3.Connection, timestamp: float) -> None:
        for partition_id, columns in self.columns.items():
            records = len(columns.keys)
            (following,) = connection.execute(
                "UPDATE partitions SET next_offset = next_offset + ?, bytes = bytes + ? WHERE id = ?"
                " RETURNING next_offset",
                (records, columns.bytes, partition_id),
            ).fetchone()
            self.first_offsets[partition_id] = first = following - records
            rows = zip(count(first), repeat(timestamp), columns.keys, columns.values, columns.packed, strict=False)
            _insert(connection, records_table(partition_id), records, list(chain.from_iterable(rows)))
        self.timestamp = timestamp

    def _add(self, topic: Topic, records: Iterable[Outgoing]) -> None:
        """Called with every record of a batch: the busiest lines of the log."""
        spec, ids, all_columns = topic.spec, topic.partition_ids, self.columns
        for record in records:
            key, value, headers = record.key, record.value, record.headers
            packed = pack_headers(headers)
            size = len(key) + len(packed) + (len(value) if value is not None else _tombstone(spec))
            if size > spec.max_record_bytes:
                raise TooLarge(f"{spec.name}: a record of {size} bytes, at most {spec.max_record_bytes}")
            partition_id = ids[number_of(key, spec.partitions)]
            if (columns := all_columns.get(partition_id)) is None:
                columns = all_columns[partition_id] = Columns(compacted=spec.compacted)
            columns.keys.append(key)
            columns.values.append(value)
            columns.headers.append(headers)
            columns.packed.append(packed)
            columns.bytes += size


def _insert(connection: sqlite3.Connection, table: str, rows: int, fields: list[object]) -> None:
    """Insert rows, whose fields follow each other, with as few statements as their number allows."""
    done = 0
    for lot in LOTS:
        while rows - done >= lot:
            connection.execute(_insertion(table, lot), fields[FIELDS * done : FIELDS * (done + lot)])
            done += lot


@lru_cache(4096)
def _insertion(table: str, rows: int) -> str:
    return f"INSERT INTO {table} VALUES {', '.join(['(?, ?, ?, ?, ?)'] * rows)}"  # noqa: S608 - our own tables


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
