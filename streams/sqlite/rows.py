"""Records as rows: appending them inside a write transaction and reading them back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby, repeat
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


class Columns:
    """One partition's share of a batch, column by column."""

    __slots__ = ("bytes", "headers", "keys", "values")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[bytes | None] = []
        self.headers: list[bytes] = []
        self.bytes = 0


class Batch:
    """Records sorted into their partitions, checked and packed, ready to be appended."""

    def __init__(self, catalog: Catalog, outgoing: Iterable[Outgoing]) -> None:
        """Raises PlanError for an unknown topic or a tombstone out of place, TooLarge for a record over the limit."""
        self.columns: dict[int, Columns] = {}
        for name, records in groupby(outgoing, topic_of):
            self._add(catalog.topic(name), records)

    def total_bytes(self) -> int:
        return sum(columns.bytes for columns in self.columns.values())

    def append(self, connection: sqlite3.Connection, timestamp: float) -> None:
        for partition_id, columns in self.columns.items():
            count = len(columns.keys)
            (following,) = connection.execute(
                "UPDATE partitions SET next_offset = next_offset + ?, bytes = bytes + ? WHERE id = ?"
                " RETURNING next_offset",
                (count, columns.bytes, partition_id),
            ).fetchone()
            connection.executemany(
                f"INSERT INTO {records_table(partition_id)} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - an integer
                zip(
                    range(following - count, following),
                    repeat(timestamp, count),
                    columns.keys,
                    columns.values,
                    columns.headers,
                    strict=True,
                ),
            )

    def _add(self, topic: Topic, records: Iterable[Outgoing]) -> None:
        """Called with every record of a batch: the busiest lines of the log."""
        spec, ids, all_columns = topic.spec, topic.partition_ids, self.columns
        for record in records:
            key, value, headers = record.key, record.value, pack_headers(record.headers)
            size = len(key) + len(headers) + (len(value) if value is not None else _tombstone(spec))
            if size > spec.max_record_bytes:
                raise TooLarge(f"{spec.name}: a record of {size} bytes, at most {spec.max_record_bytes}")
            partition_id = ids[number_of(key, spec.partitions)]
            if (columns := all_columns.get(partition_id)) is None:
                columns = all_columns[partition_id] = Columns()
            columns.keys.append(key)
            columns.values.append(value)
            columns.headers.append(headers)
            columns.bytes += size


def _tombstone(spec: TopicSpec) -> int:
    if not spec.compacted:
        raise PlanError([f"{spec.name}: a tombstone, but the topic is not compacted"])
    return 0


def read_rows(
    connection: sqlite3.Connection, partition_id: int, partition: Partition, epoch: int, offset: int, limit: int
) -> list[Record]:
    """At most `limit` records from `offset` on; fewer where they are large, but one at least."""
    rows = connection.execute(
        f"SELECT record_offset, timestamp, key, value, headers FROM {records_table(partition_id)}"  # noqa: S608
        " WHERE record_offset >= ? ORDER BY record_offset LIMIT ?",
        (offset, limit),
    )
    records, room = [], READ_BYTES
    for at, timestamp, key, value, headers in rows:
        records.append(Record(partition, at, epoch, key, value, unpack_headers(headers), timestamp))
        room -= len(value or b"")
        if room <= 0:
            break
    rows.close()
    return records


def offsets(connection: sqlite3.Connection, partition_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """First and next offset of each partition."""
    rows = connection.execute(
        "SELECT id, first_offset, next_offset FROM partitions WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(partition_ids)),),
    )
    return {at: (first, following) for at, first, following in rows}
