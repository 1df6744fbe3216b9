"""Lots handed to a producer in whole batches, built by compiled code where there is some.

aiokafka's own `send` costs some 25 µs a record, mostly futures: larger lots are built into batches here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.errors import TooLarge
from streams.kafka.compiled import wire
from streams.kafka.failures import consume_exception
from streams.kafka.lots import PartitionBatch
from streams.transport import NewRecord

FEW_RECORDS = 8
"""Up to so many records of a partition go one by one, so that concurrent small publishes share batches."""


def packed(producer: AIOKafkaProducer, lot: PartitionBatch, *, compiled: bool) -> list[BatchBuilder]:
    """The batches of a lot; none for few records, which go one by one. Raises TooLarge."""
    if len(lot.records) <= FEW_RECORDS:
        for record in lot.records:
            check_size(record, lot)
        return []
    if compiled and wire is not None and not producer._message_accumulator._compression_type:
        return _compiled(producer, lot)
    return _plain(producer, lot)


def _compiled(producer: AIOKafkaProducer, lot: PartitionBatch) -> list[BatchBuilder]:
    """In C, from the records as they are."""
    batches: list[BatchBuilder] = []
    first, most, transactional = 0, _most_bytes(producer, lot), _transactional(producer)
    while first < len(lot.records):
        batch, count, largest = wire.pack(lot.records, first, most)
        if largest > lot.max_bytes:  # as the format has it, with lengths
            for record in lot.records[first : first + count]:
                check_size(record, lot)
        batches.append(_Packed(batch, count, transactional=transactional))
        first += count
    return batches


class _Packed(BatchBuilder):  # type: ignore[misc]
    """A batch that takes no more records. Its header tells whose it is, and is written when the producer knows."""

    def __init__(self, batch: bytearray, count: int, *, transactional: bool) -> None:
        self._buffer, self._relative_offset, self._closed = batch, count, False
        self._transactional, self._milliseconds = transactional, round(1000 * time.time())
        self._producer = -1, -1, 0
        self._sealed = False

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = producer_id, producer_epoch, base_sequence

    def _build(self) -> bytearray:
        self.close()
        if not self._sealed:
            wire.seal(self._buffer, self._relative_offset, self._milliseconds, self._transactional, *self._producer)
            self._sealed = True
        return self._buffer


def _plain(producer: AIOKafkaProducer, lot: PartitionBatch) -> list[BatchBuilder]:
    """What a batch is built with is reached under its private name: `append` doubles the time of a record."""
    now, batches, count = round(1000 * time.time()), [_empty(producer, lot)], 0
    append = batches[0]._builder.append
    for record in lot.records:
        headers = list(record.headers.items())
        written = append(count, now, record.key, record.value, headers)
        if written is None:
            batches[-1]._relative_offset, count = count, 0
            batches.append(_empty(producer, lot))
            append = batches[-1]._builder.append
            written = append(0, now, record.key, record.value, headers)
        if written.size > lot.max_bytes:  # as the format has it, with lengths
            check_size(record, lot)
        count += 1
    batches[-1]._relative_offset = count
    return batches


def _empty(producer: AIOKafkaProducer, lot: PartitionBatch) -> BatchBuilder:
    """As the producer's own, but no larger than the topic takes; its first record fits always."""
    compression = producer._message_accumulator._compression_type
    return BatchBuilder(_most_bytes(producer, lot), compression, is_transactional=_transactional(producer))


def _most_bytes(producer: AIOKafkaProducer, lot: PartitionBatch) -> int:
    of_producer: int = producer._message_accumulator._batch_size
    return min(of_producer, lot.max_bytes)


def _transactional(producer: AIOKafkaProducer) -> bool:
    return producer._txn_manager.transactional_id is not None


async def send(
    producer: AIOKafkaProducer, lot: PartitionBatch, batches: Sequence[BatchBuilder]
) -> list[asyncio.Future[Any]]:
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
        future.add_done_callback(consume_exception)
        futures.append(future)
    return futures


def check_size(record: NewRecord, lot: PartitionBatch) -> None:
    """Raises TooLarge."""
    headers = record.headers
    size = len(record.key) + len(record.value or b"") + len("".join(headers)) + len(b"".join(headers.values()))
    if size > lot.max_bytes:
        raise TooLarge(f"{lot.topic}: a record of {size} bytes, at most {lot.max_bytes}")
