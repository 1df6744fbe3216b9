"""Records sorted by partition, and handed to a producer in whole batches.

aiokafka's own `send` costs some 25 µs a record, mostly futures: larger lots are built into batches here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.transport import Outgoing, TopicSpec

number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

FEW_RECORDS = 8
"""Up to so many records of a partition go one by one, so that concurrent small publishes share batches."""

RECORD_OVERHEAD_BYTES = 96
"""More than what the format adds to a record with the lengths of its fields and headers."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Records of one partition, in order, with their sizes, and the largest batch that its topic takes."""

    topic: str
    partition: int
    max_bytes: int
    records: list[Outgoing] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def lots(specs: Mapping[str, TopicSpec], records: Iterable[Outgoing]) -> list[Lot]:
    """Records by partition. Raises TooLarge, or PlanError for a tombstone where nothing is compacted."""
    found: dict[tuple[str, int], Lot] = {}
    by_key: dict[tuple[str, bytes], Lot] = {}
    for record in records:
        spec = specs[record.topic]
        size = checked_size(spec, record)
        if (lot := by_key.get((record.topic, record.key))) is None:
            place = record.topic, number_of(record.key, spec.partitions)
            lot = by_key[record.topic, record.key] = found.setdefault(place, Lot(*place, spec.max_record_bytes))
        lot.records.append(record)
        lot.sizes.append(size)
    return list(found.values())


async def send(producer: AIOKafkaProducer, lot: Lot) -> list[asyncio.Future[Any]]:
    """Hand a partition's records over in order; what their acknowledgements are awaited on."""
    if len(lot.records) > FEW_RECORDS:
        ready = batches(producer, lot)
        return [await producer.send_batch(batch, lot.topic, partition=lot.partition) for batch in ready]
    return [
        await producer.send(lot.topic, one.value, one.key, lot.partition, headers=list(one.headers.items()))
        for one in lot.records
    ]


def size_of(record: Outgoing) -> int:
    headers = record.headers
    return len(record.key) + len(record.value or b"") + len("".join(headers)) + len(b"".join(headers.values()))


def checked_size(spec: TopicSpec, record: Outgoing) -> int:
    """Raises TooLarge, or PlanError for a tombstone where nothing is compacted."""
    if (size := size_of(record)) > spec.max_record_bytes:
        raise TooLarge(f"{spec.name}: a record of {size} bytes, at most {spec.max_record_bytes}")
    if record.value is None and not spec.compacted:
        raise PlanError([f"{spec.name}: a tombstone, but the topic is not compacted"])
    return size


def batches(producer: AIOKafkaProducer, lot: Lot) -> Iterable[BatchBuilder]:
    """Batches that fit the topic's limit, which is a batch's to Kafka.

    What a batch is built with is reached under its private name: `append` doubles the time of a record.
    """
    now = round(1000 * time.time())
    batch, count, room = producer.create_batch(), 0, lot.max_bytes
    for record, size in zip(lot.records, lot.sizes, strict=True):
        headers = list(record.headers.items())
        is_full = count > 0 and size + RECORD_OVERHEAD_BYTES > room
        if is_full or batch._builder.append(count, now, record.key, record.value, headers) is None:
            batch._relative_offset = count
            yield batch
            batch, count, room = producer.create_batch(), 0, lot.max_bytes
            batch._builder.append(0, now, record.key, record.value, headers)
        count += 1
        room -= size + RECORD_OVERHEAD_BYTES
    batch._relative_offset = count
    yield batch
