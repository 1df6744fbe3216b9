"""Writing to Kafka: acknowledged by all replicas in sync, idempotent, in whole batches.

aiokafka's own `send` costs some 25 µs a record, mostly futures: larger lots are built into batches here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.identity import partition_of
from streams.errors import PlanError, TooLarge
from streams.kafka.failures import FATAL_TO_PRODUCER, translated
from streams.kafka.mending import ask_with_pauses
from streams.transport import Outgoing, TopicSpec

log = structlog.get_logger()
number_of = lru_cache(65_536)(partition_of)
"""The hash is pure Python; feeds' keys come again and again."""

Compression: TypeAlias = Literal["zstd"] | None

BATCH_BYTES = 1 << 20
"""aiokafka's 16 KB would make a batch of every picture."""

REQUEST_BYTES = 64 << 20
"""More than any topic's largest record; the topic's own limit is checked before."""

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


class Publisher:
    """Two producers, because compression is a producer's: zstd for JSON, none for pictures and msgpack."""

    def __init__(self, client: Mapping[str, Any], request_seconds: float) -> None:
        self._client, self._request_seconds = client, request_seconds
        self._producers: dict[Compression, AIOKafkaProducer] = {}
        self._building = asyncio.Lock()

    async def publish(self, specs: Mapping[str, TopicSpec], records: Sequence[Outgoing]) -> None:
        """Return once all are acknowledged. Raises TooLarge before anything is sent; Unavailable: some may be there."""
        json = [record for record in records if compression(record) is not None]
        rest = [record for record in records if compression(record) is None] if json else records
        sorted_lots: dict[Compression, list[Lot]] = {"zstd": lots(specs, json), None: lots(specs, rest)}
        if not records:
            return
        with translated():
            sent = await asyncio.gather(
                *(self._send(how, lot) for how, found in sorted_lots.items() for lot in found),
            )
            await self._acknowledged([future for futures in sent for future in futures])

    async def close(self) -> None:
        """Give what is under way the time of a request; a cluster that is away must not keep the process alive."""
        producers, self._producers = self._producers, {}
        for producer in producers.values():
            try:
                await asyncio.wait_for(producer.stop(), self._request_seconds)
            except TimeoutError:
                log.warning("unacknowledged_at_close", seconds=self._request_seconds)

    async def _send(self, how: Compression, lot: Lot) -> list[asyncio.Future[Any]]:
        return await send(await self._producer(how), lot)

    async def _acknowledged(self, futures: Sequence[asyncio.Future[Any]]) -> None:
        """An idempotent producer tries for ever: what is not acknowledged in time may still be written later."""
        _, waiting = await asyncio.wait(futures, timeout=self._request_seconds)
        for future in futures:
            if future not in waiting and (error := future.exception()):
                await self._discard_broken(error)
                raise error
        if waiting:
            raise TimeoutError(f"{len(waiting)} batches were not acknowledged in {self._request_seconds} s")

    async def _producer(self, how: Compression) -> AIOKafkaProducer:
        async with self._building:
            if (producer := self._producers.get(how)) is None:
                producer = AIOKafkaProducer(
                    **self._client,
                    acks="all",
                    enable_idempotence=True,
                    compression_type=how,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=REQUEST_BYTES,
                )
                await producer.start()
                ask_with_pauses(producer.client)
                self._producers[how] = producer
            return producer

    async def _discard_broken(self, error: BaseException) -> None:
        """After a fatal error the next publish builds new producers."""
        if isinstance(error, FATAL_TO_PRODUCER):
            async with self._building:
                await self.close()


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


def compression(record: Outgoing) -> Compression:
    return "zstd" if b"json" in record.headers.get("content-type", b"") else None


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
