"""Hands a partition's records to a producer: a few one by one, more of them in batches that are built here.

aiokafka's own `send` costs some 25 µs a record, mostly futures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.errors import TooLarge
from streams.kafka.aiokafka_internals.batches import batch_settings, build, build_compiled
from streams.kafka.compiled.wire import wire
from streams.kafka.failures import consume_exception
from streams.kafka.partition_batch import PartitionBatch
from streams.transport import NewRecord

FEW_RECORDS = 8
"""Up to this many records of a partition go one by one, so that concurrent small publishes share batches."""


def build_batches(producer: AIOKafkaProducer, records: PartitionBatch, *, compiled: bool) -> list[BatchBuilder]:
    """The producer's batches of these records; none for few records, which go one by one. Raises TooLarge.

    A batch is at most as large as the topic takes, and as the producer's own.
    """
    if len(records.records) <= FEW_RECORDS:
        check_sizes(records, 0, len(records.records))
        return []
    settings = batch_settings(producer)
    settings = settings._replace(max_bytes=min(settings.max_bytes, records.max_bytes))
    build_one = build_compiled if compiled and wire is not None and not settings.codec else build
    batches: list[BatchBuilder] = []
    first = 0
    while first < len(records.records):
        batch, count, largest_bytes = build_one(records.records, first, settings)
        if largest_bytes > records.max_bytes:  # the format's size of a record, with the lengths of its parts
            check_sizes(records, first, first + count)
        batches.append(batch)
        first += count
    return batches


async def send(
    producer: AIOKafkaProducer,
    records: PartitionBatch,
    batches: Sequence[BatchBuilder],
    handed_over: list[asyncio.Future[Any]],
) -> None:
    """Hand over what `build_batches` made, in order, after what is `handed_over` already; each of it is added there.

    The futures are done when it is acknowledged. Their exceptions count as retrieved: handing over the next may fail
    before any of them is awaited.
    """
    topic, partition, first = records.topic, records.partition, len(handed_over)
    if batches:
        calls = (producer.send_batch(batch, topic, partition=partition) for batch in batches[first:])
    else:
        calls = (
            producer.send(topic, record.value, record.key, partition, headers=list(record.headers.items()))
            for record in records.records[first:]
        )
    for call in calls:
        future = await call
        future.add_done_callback(consume_exception)
        handed_over.append(future)


def check_sizes(batch: PartitionBatch, first: int, end: int) -> None:
    """Raises TooLarge if one of `batch.records[first:end]` exceeds its topic's limit."""
    for record in batch.records[first:end]:
        if (size := record_bytes(record)) > batch.max_bytes:
            raise TooLarge(f"topic {batch.topic}: a record has {size} bytes, its limit is {batch.max_bytes}")


def record_bytes(record: NewRecord) -> int:
    headers = record.headers
    return len(record.key) + len(record.value or b"") + len("".join(headers)) + len(b"".join(headers.values()))
