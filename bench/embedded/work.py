"""The work of `bench.log` on the embedded log: making, publishing, polling and committing events."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.identity import partition_of
from streams.sqlite.record_batch import pack_headers
from streams.sqlite.transport import SqliteTransport
from streams.transport import Consumer, NewRecord, Partition, Position, TopicSpec

BATCH = 256
EVENT_BYTES = 1024
HEADERS = {
    "ce_specversion": b"1.0",
    "ce_type": b"sightline.frame.raw.v1",
    "ce_source": b"/sightline/default/lobby",
    "ce_id": b"0b6f3c0e-7a43-5c0e-8f1e-0f6f4c1d2a3b",
    "ce_time": b"2026-11-21T08:00:00.000000Z",
    "content-type": b"application/msgpack",
}


class Quiet:
    async def assigned(self, partitions: Mapping[Partition, int]) -> None: ...

    async def revoked(self, partitions: Sequence[Partition]) -> None: ...


def key_of(partition: int, partitions: int) -> bytes:
    """A feed whose key belongs to this partition."""
    feeds = (f"default/camera-{number}".encode() for number in range(10_000))
    return next(feed for feed in feeds if partition_of(feed, partitions) == partition)


def events(feeds: Sequence[bytes], count: int) -> list[NewRecord]:
    """Events of `EVENT_BYTES` with key and headers, alternating between the feeds."""
    value = os.urandom(EVENT_BYTES - len(pack_headers(HEADERS)) - len(feeds[0]))
    return [NewRecord("events", feeds[number % len(feeds)], value, HEADERS) for number in range(count)]


async def publish(transport: SqliteTransport, batch: Sequence[NewRecord], batches: int) -> None:
    for _ in range(batches):
        await transport.publish(batch)


async def consume(consumer: Consumer, count: int) -> None:
    """Poll and commit until `count` events are done."""
    while count > 0:
        records = await consumer.poll(min(BATCH, count), 60.0)
        last = {record.partition: record.offset for record in records}
        ends = {partition: Position(offset + 1) for partition, offset in last.items()}
        await consumer.commit(ends, consumer.assignment())
        count -= len(records)


async def make_log(path: Path, partitions: int, backlog: int = 0) -> None:
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create([TopicSpec("events", partitions)])
    feeds = [key_of(partition, partitions) for partition in range(partitions)]
    for start in range(0, backlog, 4096):
        await transport.publish(events(feeds, min(4096, backlog - start)))
    await transport.close()
