"""Records to append: sorted by partition, checked and packed in the event loop, inserted in the writer's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any
from zlib import crc32

import msgspec

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.sqlite.catalog import Catalog, Topic
from streams.sqlite.schema import records_table
from streams.transport import NewRecord, TopicSpec

pack_headers = msgspec.msgpack.Encoder().encode
topic_name = attrgetter("topic")
partition_index = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

ROWS_PER_INSERT = (64, 32, 16, 8, 4, 2, 1)
"""A fifth faster than row by row, and the interpreter lock is released once per statement."""

FIELDS = 4
"""Fields per record in `PartitionRows.fields`."""


class PartitionRows:
    """One partition's records in a batch. `fields` are key, value, packed headers, checksum of each, in one list."""

    __slots__ = ("compacted", "fields", "headers", "size_bytes")

    def __init__(self, *, compacted: bool) -> None:
        self.fields: list[Any] = []
        self.headers: list[Mapping[str, bytes]] = []
        self.size_bytes = 0
        self.compacted = compacted


class Batch:
    """Records by partition id, ready to be appended; `first_offsets` and `timestamp` are set once they are."""

    def __init__(self, catalog: Catalog, outgoing: Iterable[NewRecord]) -> None:
        """Raises PlanError for an unknown topic or a tombstone out of place, TooLarge for a record over the limit."""
        self.by_partition: dict[int, PartitionRows] = {}
        self.first_offsets: dict[int, int] = {}
        self.timestamp = 0.0
        for name, records in groupby(outgoing, topic_name):
            self._add(catalog.topic(name), records)

    def size_bytes(self) -> int:
        return sum(rows.size_bytes for rows in self.by_partition.values())

    def append(self, connection: sqlite3.Connection, timestamp: float) -> None:
        """Write all of them within the caller's transaction."""
        for partition_id, rows in self.by_partition.items():
            count = len(rows.headers)
            (following,) = connection.execute(
                "UPDATE partitions SET next_offset = next_offset + ?, bytes = bytes + ? WHERE id = ?"
                " RETURNING next_offset",
                (count, rows.size_bytes, partition_id),
            ).fetchone()
            self.first_offsets[partition_id] = first = following - count
            _insert(connection, records_table(partition_id), first, timestamp, rows.fields)
        self.timestamp = timestamp

    def _add(self, topic: Topic, records: Iterable[NewRecord]) -> None:
        """Runs for every record of a batch: the busiest lines of the log."""
        spec, ids, by_partition = topic.spec, topic.partition_ids, self.by_partition
        for record in records:
            key, value, headers = record.key, record.value, record.headers
            packed = pack_headers(headers)
            size = len(key) + len(packed) + (len(value) if value is not None else _tombstone_bytes(spec))
            if size > spec.max_record_bytes:
                raise TooLarge(f"topic {spec.name}: a record has {size} bytes, its limit is {spec.max_record_bytes}")
            partition_id = ids[partition_index(key, spec.partitions)]
            if (rows := by_partition.get(partition_id)) is None:
                rows = by_partition[partition_id] = PartitionRows(compacted=spec.compacted)
            rows.fields += (key, value, packed, crc32(packed, crc32(value, crc32(key)) if value else crc32(key)))
            rows.headers.append(headers)
            rows.size_bytes += size


def _insert(connection: sqlite3.Connection, table: str, first_offset: int, timestamp: float, fields: list[Any]) -> None:
    """Insert consecutive records in as few statements as possible."""
    done, records = 0, len(fields) // FIELDS
    for count in ROWS_PER_INSERT:
        while records - done >= count:
            part = fields[FIELDS * done : FIELDS * (done + count)]
            connection.execute(_insertion(table, count), (first_offset + done, timestamp, *part))
            done += count


@lru_cache(4096)
def _insertion(table: str, records: int) -> str:
    rows = ", ".join(f"(?1 + {number:d}, ?2, ?, ?, ?, ?)" for number in range(records))
    return f"INSERT INTO {table} VALUES {rows}"  # noqa: S608 - our own tables


def _tombstone_bytes(spec: TopicSpec) -> int:
    if not spec.compacted:
        raise PlanError([f"topic {spec.name}: it is not compacted and takes no record without a value"])
    return 0
