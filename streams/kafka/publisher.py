"""Writing to Kafka: acknowledged by all replicas in sync, idempotent, and once where that is possible.

Records that were handed to a producer stay on their way if they are not acknowledged in time: a second publish of the
same records waits for the first copy, instead of adding another one to the queue of a cluster that is away.
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
from streams.kafka.aiokafka_internals.client import limit_metadata_requests
from streams.kafka.batch_sender import build_batches, send
from streams.kafka.failures import FATAL_TO_PRODUCER, Access, translated
from streams.kafka.partition_batch import PartitionBatch, by_partition
from streams.kafka.settings import KafkaSettings
from streams.transport import NewRecord, TopicSpec

log = structlog.get_logger()

Compression: TypeAlias = Literal["zstd"] | None

BATCH_BYTES = 1 << 20
"""aiokafka's 16 KB would make a batch of every picture."""

REQUEST_BYTES = 64 << 20
"""More than any topic's largest record; the topic's own limit is checked before."""

REMEMBERED_PUBLISHES = 64
"""Unacknowledged publishes, most of which are tried again soon; a forgotten one is sent twice."""


@dataclass(slots=True, eq=False)
class _HandedOver:
    """What a producer gets of one partition, and the acknowledgements of what it has already.

    It may have a part only: while the cluster is away a producer takes one batch of a partition.
    """

    batches: Sequence[BatchBuilder]
    parts: int
    futures: list[asyncio.Future[Any]] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return len(self.futures) == self.parts


@dataclass(slots=True, eq=False)
class _Publish:
    """The records of one publish by partition, and the acknowledgements of those that were handed over."""

    batches: list[tuple[Compression, PartitionBatch]]
    generation: int
    """Of the producers: what earlier ones were given may never be acknowledged."""
    handed_over: dict[int, _HandedOver] = field(default_factory=dict)
    """By index in `batches`."""


class Publisher:
    """Two producers, because compression belongs to a producer: zstd for JSON, none for pictures and msgpack."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._client, self._compiled = settings.client(), settings.compiled
        self._request_seconds = settings.request_seconds
        self._producers: dict[Compression, AIOKafkaProducer] = {}
        self._building = asyncio.Lock()
        self._generation = 0
        self._unacknowledged: dict[tuple[int, ...], _Publish] = {}

    async def publish(self, specs: Mapping[str, TopicSpec], records: Sequence[NewRecord]) -> None:
        """Return once all are acknowledged. Raises TooLarge before anything is sent; Unavailable: some may be there.

        Called again with the same record objects, it waits for those that were handed over already.
        """
        publish = self._recall(records) or self._sorted(specs, records)
        if not records:
            return
        try:
            with translated(Access("Write", {record.topic for record in records})):
                await self._hand_over(publish)
                await self._acknowledged(publish)
        except StreamError:
            self._remember(records, publish)
            raise

    async def close(self) -> None:
        """Wait as long as a request may take for what is under way: a cluster that is away must not block the exit."""
        producers, self._producers = self._producers, {}
        self._generation += 1
        self._unacknowledged.clear()
        for producer in producers.values():
            try:
                await asyncio.wait_for(producer.stop(), self._request_seconds)
            except TimeoutError:
                log.warning("unacknowledged_at_close", seconds=self._request_seconds)

    def _sorted(self, specs: Mapping[str, TopicSpec], records: Sequence[NewRecord]) -> _Publish:
        """Raises PlanError."""
        json = [record for record in records if compression(record) is not None]
        rest = [record for record in records if compression(record) is None] if json else records
        compressed: list[tuple[Compression, PartitionBatch]] = [("zstd", batch) for batch in by_partition(specs, json)]
        return _Publish([*compressed, *((None, batch) for batch in by_partition(specs, rest))], self._generation)

    def _recall(self, records: Sequence[NewRecord]) -> _Publish | None:
        return self._unacknowledged.pop(tuple(map(id, records)), None) if self._unacknowledged else None

    def _remember(self, records: Sequence[NewRecord], publish: _Publish) -> None:
        """By the records' ids, which belong to no other object as long as `publish` holds the records."""
        if publish.generation == self._generation:
            self._unacknowledged[tuple(map(id, records))] = publish
            if len(self._unacknowledged) > REMEMBERED_PUBLISHES:
                del self._unacknowledged[next(iter(self._unacknowledged))]

    async def _hand_over(self, publish: _Publish) -> None:
        """Give the producers what they do not have yet. Raises TooLarge before they get anything."""
        ready = dict(publish.handed_over)
        for index, (how, records) in enumerate(publish.batches):
            if index not in ready:
                batches = build_batches(await self._producer(how), records, compiled=self._compiled)
                ready[index] = _HandedOver(batches, len(batches) or len(records.records))
        publish.handed_over = ready
        sends = [self._send(publish, index) for index, part in ready.items() if not part.is_complete]
        sent = await asyncio.gather(*sends, return_exceptions=True)
        await self._raise_first([error for error in sent if error is not None])

    async def _send(self, publish: _Publish, index: int) -> None:
        how, records = publish.batches[index]
        part = publish.handed_over[index]
        await send(await self._producer(how), records, part.batches, part.futures)

    async def _acknowledged(self, publish: _Publish) -> None:
        """An idempotent producer never gives up: what is not acknowledged in time may still be written later."""
        futures = [future for of_batch in publish.handed_over.values() for future in of_batch.futures]
        _, waiting = await asyncio.wait(futures, timeout=self._request_seconds)
        failed = {future: error for future in futures if future not in waiting and (error := future.exception())}
        for index, of_batch in list(publish.handed_over.items()):
            if not failed.keys().isdisjoint(of_batch.futures):
                del publish.handed_over[index]
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
                limit_metadata_requests(producer.client)
                self._producers[how] = producer
            return producer


def compression(record: NewRecord) -> Compression:
    return "zstd" if b"json" in record.headers.get("content-type", b"") else None
