"""Records as rows: appending them inside a write transaction and reading them back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.sqlite.catalog import Catalog
from streams.sqlite.schema import records_table
from streams.transport import Outgoing, Partition, Record

Row: TypeAlias = tuple[bytes, bytes | None, bytes]
"""Key, value, packed headers."""

pack_headers = msgspec.msgpack.Encoder().encode
unpack_headers = msgspec.msgpack.Decoder(dict[str, bytes]).decode
number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

READ_BYTES = 32 << 20
"""A read ends after this many bytes of values, however many records were asked for: pictures travel in records."""


class Batch:
    """Records sorted into their partitions, checked and packed, ready to be appended."""

    def __init__(self, catalog: Catalog, outgoing: Sequence[Outgoing]) -> None:
        """Raises PlanError for an unknown topic, TooLarge for a record over its topic's limit."""
        self.rows: dict[int, list[Row]] = {}
        self.bytes: dict[int, int] = {}
        for record in outgoing:
            topic = catalog.topic(record.topic)
            partition_id = topic.partition_ids[number_of(record.key, topic.spec.partitions)]
            headers = pack_headers(record.headers)
            size = len(record.key) + len(record.value or b"") + len(headers)
            if size > topic.spec.max_record_bytes:
                raise TooLarge(f"{topic.spec.name}: a record of {size} bytes, at most {topic.spec.max_record_bytes}")
            if record.value is None and not topic.spec.compacted:
                raise PlanError([f"{topic.spec.name}: a tombstone, but the topic is not compacted"])
            self.rows.setdefault(partition_id, []).append((record.key, record.value, headers))
            self.bytes[partition_id] = self.bytes.get(partition_id, 0) + size

    def total_bytes(self) -> int:
        return sum(self.bytes.values())

    def append(self, connection: sqlite3.Connection, timestamp: float) -> None:
        for partition_id, rows in self.rows.items():
            (offset,) = connection.execute(
                "UPDATE partitions SET next_offset = next_offset + ?, bytes = bytes + ? WHERE id = ?"
                " RETURNING next_offset",
                (len(rows), self.bytes[partition_id], partition_id),
            ).fetchone()
            first = offset - len(rows)
            connection.executemany(
                f"INSERT INTO {records_table(partition_id)} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - an integer
                [(first + place, timestamp, *row) for place, row in enumerate(rows)],
            )


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
