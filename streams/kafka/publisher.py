"""Writing to Kafka: acknowledged by all replicas in sync, idempotent, and once where it can be helped.

What was handed over is on its way also when nobody acknowledges it in time: whoever tries again waits for that,
instead of putting another copy into the queue of a cluster that is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.errors import StreamError
from streams.kafka.failures import FATAL_TO_PRODUCER, translated
from streams.kafka.lots import PartitionBatch, lots
from streams.kafka.mending import ask_with_pauses
from streams.kafka.packing import packed, send
from streams.kafka.settings import KafkaSettings
from streams.transport import NewRecord, TopicSpec

log = structlog.get_logger()

Compression: TypeAlias = Literal["zstd"] | None

BATCH_BYTES = 1 << 20
"""aiokafka's 16 KB would make a batch of every picture."""

REQUEST_BYTES = 64 << 20
"""More than any topic's largest record; the topic's own limit is checked before."""

REMEMBERED = 64
"""Unacknowledged publishes, of which most are tried again soon; one that is forgotten is sent twice."""


@dataclass(slots=True, eq=False)
class _Shipment:
    """The records of one publish by partition, and what acknowledges those that were handed over."""

    lots: list[tuple[Compression, PartitionBatch]]
    generation: int
    """Of the producers: what was handed to earlier ones may never be answered."""
    handed_over: dict[int, list[asyncio.Future[Any]]] = field(default_factory=dict)
    """By the lot's place in `lots`."""


class Publisher:
    """Two producers, because compression is a producer's: zstd for JSON, none for pictures and msgpack."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._client, self._compiled = settings.client(), settings.compiled
        self._request_seconds = settings.request_seconds
        self._producers: dict[Compression, AIOKafkaProducer] = {}
        self._building = asyncio.Lock()
        self._generation = 0
        self._unacknowledged: dict[tuple[int, ...], _Shipment] = {}

    async def publish(self, specs: Mapping[str, TopicSpec], records: Sequence[NewRecord]) -> None:
        """Return once all are acknowledged. Raises TooLarge before anything is sent; Unavailable: some may be there.

        The same record objects again: those that were handed over already are waited for, not sent again.
        """
        shipment = self._found_again(records) or self._sorted(specs, records)
        if not records:
            return
        try:
            with translated():
                await self._hand_over(shipment)
                await self._acknowledged(shipment)
        except StreamError:
            self._remember(records, shipment)
            raise

    async def close(self) -> None:
        """Give what is under way the time of a request; a cluster that is away must not keep the process alive."""
        producers, self._producers = self._producers, {}
        self._generation += 1
        self._unacknowledged.clear()
        for producer in producers.values():
            try:
                await asyncio.wait_for(producer.stop(), self._request_seconds)
            except TimeoutError:
                log.warning("unacknowledged_at_close", seconds=self._request_seconds)

    def _sorted(self, specs: Mapping[str, TopicSpec], records: Sequence[NewRecord]) -> _Shipment:
        """Raises PlanError."""
        json = [record for record in records if compression(record) is not None]
        rest = [record for record in records if compression(record) is None] if json else records
        by_compression: dict[Compression, list[PartitionBatch]] = {"zstd": lots(specs, json), None: lots(specs, rest)}
        found = [(how, lot) for how, some in by_compression.items() for lot in some]
        return _Shipment(found, self._generation)

    def _found_again(self, records: Sequence[NewRecord]) -> _Shipment | None:
        return self._unacknowledged.pop(tuple(map(id, records)), None) if self._unacknowledged else None

    def _remember(self, records: Sequence[NewRecord], shipment: _Shipment) -> None:
        """By the records' identity, which is theirs alone for as long as the shipment holds them."""
        if shipment.generation == self._generation:
            self._unacknowledged[tuple(map(id, records))] = shipment
            if len(self._unacknowledged) > REMEMBERED:
                del self._unacknowledged[next(iter(self._unacknowledged))]

    async def _hand_over(self, shipment: _Shipment) -> None:
        """Give the producers what they do not have yet. Raises TooLarge before they get anything."""
        missing = [place for place in range(len(shipment.lots)) if place not in shipment.handed_over]
        ready = []
        for place in missing:
            how, lot = shipment.lots[place]
            producer = await self._producer(how)
            ready.append((place, producer, lot, packed(producer, lot, compiled=self._compiled)))
        sent = await asyncio.gather(*(self._send(shipment, *one) for one in ready), return_exceptions=True)
        await self._raise_first([error for error in sent if error is not None])

    async def _send(
        self,
        shipment: _Shipment,
        place: int,
        producer: AIOKafkaProducer,
        lot: PartitionBatch,
        batches: Sequence[BatchBuilder],
    ) -> None:
        shipment.handed_over[place] = await send(producer, lot, batches)

    async def _acknowledged(self, shipment: _Shipment) -> None:
        """An idempotent producer tries for ever: what is not acknowledged in time may still be written later."""
        futures = [future for some in shipment.handed_over.values() for future in some]
        _, waiting = await asyncio.wait(futures, timeout=self._request_seconds)
        failed = {future: error for future in futures if future not in waiting and (error := future.exception())}
        for place, some in list(shipment.handed_over.items()):
            if not failed.keys().isdisjoint(some):
                del shipment.handed_over[place]
        await self._raise_first(list(failed.values()))
        if waiting:
            raise TimeoutError(f"{len(waiting)} batches were not acknowledged in {self._request_seconds} s")

    async def _raise_first(self, errors: Sequence[BaseException]) -> None:
        """After a fatal error the next publish builds new producers."""
        if any(isinstance(error, FATAL_TO_PRODUCER) for error in errors):
            async with self._building:
                await self.close()
        if errors:
            raise errors[0]

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


def compression(record: NewRecord) -> Compression:
    return "zstd" if b"json" in record.headers.get("content-type", b"") else None
