"""Records sorted by partition, and handed to a producer in whole batches.

aiokafka's own `send` costs some 25 µs a record, mostly futures: larger lots are built into batches here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.kafka.failures import hear
from streams.transport import Outgoing, TopicSpec

number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

FEW_RECORDS = 8
"""Up to so many records of a partition go one by one, so that concurrent small publishes share batches."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Records of one partition, in order, and the largest batch that its topic takes, which to Kafka is its limit."""

    topic: str
    partition: int
    max_bytes: int
    records: list[Outgoing] = field(default_factory=list)


def lots(specs: Mapping[str, TopicSpec], records: Iterable[Outgoing]) -> list[Lot]:
    """Records by partition. Raises PlanError for a tombstone where nothing is compacted."""
    found: dict[tuple[str, int], Lot] = {}
    by_key: dict[tuple[str, bytes], Lot] = {}
    for record in records:
        if (lot := by_key.get((record.topic, record.key))) is None:
            spec = specs[record.topic]
            place = record.topic, number_of(record.key, spec.partitions)
            lot = by_key[record.topic, record.key] = found.setdefault(place, Lot(*place, spec.max_record_bytes))
        if record.value is None and not specs[record.topic].compacted:
            raise PlanError([f"{record.topic}: a tombstone, but the topic is not compacted"])
        lot.records.append(record)
    return list(found.values())


def packed(producer: AIOKafkaProducer, lot: Lot) -> list[BatchBuilder]:
    """The batches of a lot; none for few records, which go one by one. Raises TooLarge.

    What a batch is built with is reached under its private name: `append` doubles the time of a record.
    """
    if len(lot.records) <= FEW_RECORDS:
        for record in lot.records:
            check_size(record, lot)
        return []
    now, batches, count = round(1000 * time.time()), [_batch(producer, lot)], 0
    append = batches[0]._builder.append
    for record in lot.records:
        headers = list(record.headers.items())
        written = append(count, now, record.key, record.value, headers)
        if written is None:
            batches[-1]._relative_offset, count = count, 0
            batches.append(_batch(producer, lot))
            append = batches[-1]._builder.append
            written = append(0, now, record.key, record.value, headers)
        if written.size > lot.max_bytes:  # as the format has it, with lengths
            check_size(record, lot)
        count += 1
    batches[-1]._relative_offset = count
    return batches


def _batch(producer: AIOKafkaProducer, lot: Lot) -> BatchBuilder:
    """As the producer's own, but no larger than the topic takes; its first record fits always."""
    accumulator = producer._message_accumulator
    return BatchBuilder(
        min(accumulator._batch_size, lot.max_bytes),
        accumulator._compression_type,
        is_transactional=producer._txn_manager.transactional_id is not None,
    )


async def send(producer: AIOKafkaProducer, lot: Lot, batches: Sequence[BatchBuilder]) -> list[asyncio.Future[Any]]:
    """Hand over what was packed, in order; what its acknowledgements are awaited on.

    Their errors count as heard: handing over the next may fail before anyone awaits them.
    """
    futures: list[asyncio.Future[Any]] = []
    if batches:
        calls = (producer.send_batch(batch, lot.topic, partition=lot.partition) for batch in batches)
    else:
        calls = (
            producer.send(lot.topic, one.value, one.key, lot.partition, headers=list(one.headers.items()))
            for one in lot.records
        )
    for call in calls:
        future = await call
        future.add_done_callback(hear)
        futures.append(future)
    return futures


def check_size(record: Outgoing, lot: Lot) -> None:
    """Raises TooLarge."""
    headers = record.headers
    size = len(record.key) + len(record.value or b"") + len("".join(headers)) + len(b"".join(headers.values()))
    if size > lot.max_bytes:
        raise TooLarge(f"{lot.topic}: a record of {size} bytes, at most {lot.max_bytes}")
