"""Batches of records for a producer, filled without aiokafka's call and future per record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.kafka.compiled.wire import wire
from streams.transport import NewRecord


class BatchSettings(NamedTuple):
    """What a producer's batches are like."""

    max_bytes: int
    codec: int
    """The compression, by its number in the batch's attributes; 0 is none."""
    transactional: bool


class BuiltBatch(NamedTuple):
    """A batch of `record_count` records, the largest of which takes `largest_bytes` in it."""

    batch: BatchBuilder
    record_count: int
    largest_bytes: int


def batch_settings(producer: AIOKafkaProducer) -> BatchSettings:
    """Of an idempotent producer."""
    accumulator = producer._message_accumulator
    transactional = producer._txn_manager.transactional_id is not None
    return BatchSettings(accumulator._batch_size, accumulator._compression_type, transactional)


def build(records: Sequence[NewRecord], first: int, settings: BatchSettings) -> BuiltBatch:
    """A batch of `records[first:]`, as many as fit, but one at least, by aiokafka's builder.

    The builder is filled under its private name: `BatchBuilder.append` doubles the time of a record.
    """
    batch = BatchBuilder(settings.max_bytes, settings.codec, is_transactional=settings.transactional)
    append, now = batch._builder.append, round(1000 * time.time())
    count, largest = 0, 0
    for record in islice(records, first, None):
        written = append(count, now, record.key, record.value, list(record.headers.items()))
        if written is None:
            break
        if written.size > largest:
            largest = written.size
        count += 1
    batch._relative_offset = count
    return BuiltBatch(batch, count, largest)


def build_compiled(records: Sequence[NewRecord], first: int, settings: BatchSettings) -> BuiltBatch:
    """As `build`, by the compiled code, from the records as they are; it does not compress."""
    batch, count, largest = wire.pack(records, first, settings.max_bytes)
    return BuiltBatch(CompiledBatch(batch, count, transactional=settings.transactional), count, largest)


class CompiledBatch(BatchBuilder):  # type: ignore[misc]
    """A batch that takes no more records. Its header names the producer, and is written once the producer is known."""

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
