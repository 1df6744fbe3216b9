"""One transaction per input partition and commit: outputs, dead letters and the position, all or nothing.

Each input partition has a transactional id of its own per group, and Kafka lets only the producer that was initialised
last under an id write. So whoever takes a partition over shuts out whoever had it, and ends what that one had begun,
before it reads where the group stands. Who may take over is the group's to say. It is asked before, because a member
that was thrown out must not shut out its successor, and again afterwards, because that may have happened meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.errors import Fenced
from streams.kafka.failures import consume_exception, translated
from streams.kafka.lots import PartitionBatch
from streams.kafka.membership import Membership, offsets_from
from streams.kafka.mending import ask_with_pauses
from streams.kafka.packing import packed, send
from streams.kafka.publisher import BATCH_BYTES, REQUEST_BYTES
from streams.kafka.settings import KafkaSettings
from streams.transport import Partition, Position

log = structlog.get_logger()

Positions: TypeAlias = Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, Position | None]]]
"""Reads where the group stands, with no transaction about to move it."""

OPEN_REQUESTS = 2.0
"""A transaction that nobody ends is ended by the cluster after so many times what a request may take."""


@dataclass(frozen=True, slots=True)
class _Held:
    epoch: int
    producer: AIOKafkaProducer


class Transactions:
    """Those of one member of `group`."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        membership: Membership,
        positions: Positions,
    ) -> None:
        self._client, self._group, self._membership = settings.client(), group, membership
        self._positions, self._request_seconds, self._compiled = positions, settings.request_seconds, settings.compiled
        self._held: dict[Partition, _Held] = {}
        self._unknown_outcome: dict[Partition, Position] = {}
        """Where a transaction would have led whose end is not known."""
        self._retiring: set[asyncio.Task[None]] = set()

    async def claim(self, epochs: Mapping[Partition, int]) -> None:
        """From here on nobody else writes for these partitions, or Fenced: they are not ours. Raises Unavailable."""
        try:
            await self._membership.confirm(epochs)
            await self._start_all(epochs)
            await self._membership.confirm(epochs)
        except BaseException:
            for partition in epochs:
                self._retire(partition)  # what is not confirmed must not write
            raise

    async def write(self, partition: Partition, epoch: int, lots: Sequence[PartitionBatch], position: Position) -> None:
        """Write everything, or nothing that a `read_committed` reader sees. Raises Fenced, Unavailable.

        Unavailable leaves open whether it was written: the same call again finds out, and does not write twice.
        """
        held = self._held.get(partition)
        if held is None or held.epoch != epoch:
            await self.claim({partition: epoch})
            held = self._held[partition]
            if await self._was_committed(held, partition, position):
                return
        with self._retire_on_error(held, partition, position), translated():
            async with asyncio.timeout(self._request_seconds):
                await self._put(held.producer, lots, offsets_from({partition: position}))
                await self._end(held.producer)

    def keep(self, epochs: Mapping[Partition, int]) -> None:
        """Let go of what was held for other assignments."""
        for partition, held in list(self._held.items()):
            if epochs.get(partition) != held.epoch:
                self._retire(partition)
        self._unknown_outcome.clear()

    async def close(self) -> None:
        self.keep({})
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _start_all(self, epochs: Mapping[Partition, int]) -> None:
        started = await asyncio.gather(*(self._start(*one) for one in epochs.items()), return_exceptions=True)
        for error in started:
            if error is not None:
                raise error

    async def _start(self, partition: Partition, epoch: int) -> None:
        self._retire(partition)
        producer = AIOKafkaProducer(
            **self._client,
            transactional_id=f"{self._group}/{partition.topic}/{partition.index}",
            transaction_timeout_ms=round(1000 * OPEN_REQUESTS * self._request_seconds),
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )
        self._held[partition] = _Held(epoch, producer)
        try:
            with translated():
                async with asyncio.timeout(self._request_seconds):
                    await producer.start()
            ask_with_pauses(producer.client)
        except BaseException:
            self._retire(partition)
            raise

    async def _was_committed(self, held: _Held, partition: Partition, position: Position) -> bool:
        """Whether the group stands there already. Raises Fenced where only a part of what is to be written is there."""
        doubtful = self._unknown_outcome.get(partition)
        with self._retire_on_error(held, partition, doubtful):
            found = (await self._positions([partition]))[partition]
        self._unknown_outcome.pop(partition, None)
        if found is None or (found.next_offset < position.next_offset and found != doubtful):
            return False
        if found.next_offset >= position.next_offset:
            return True
        self._membership.rejoin()
        raise Fenced(f"{partition.topic}[{partition.index}] is at {found.next_offset}: read it anew from there")

    @contextmanager
    def _retire_on_error(self, held: _Held, partition: Partition, doubtful: Position | None) -> Iterator[None]:
        """A producer that failed is used no more: the next one looks where the group stands before it writes."""
        try:
            yield
        except BaseException:
            if self._held.get(partition) is held:
                self._retire(partition)
                if doubtful is not None:
                    self._unknown_outcome[partition] = doubtful
            raise

    async def _put(
        self,
        producer: AIOKafkaProducer,
        lots: Sequence[PartitionBatch],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        """Nobody sees it yet. Raises TooLarge."""
        ready = [(lot, packed(producer, lot, compiled=self._compiled)) for lot in lots]
        await producer.begin_transaction()
        acknowledged: list[asyncio.Future[Any]] = []
        for lot, batches in ready:
            acknowledged += await send(producer, lot, batches)
        await asyncio.gather(*acknowledged)
        await producer.send_offsets_to_transaction(offsets, self._group)

    async def _end(self, producer: AIOKafkaProducer) -> None:
        await producer.commit_transaction()

    def _retire(self, partition: Partition) -> None:
        """Stopping may take as long as a request: nobody waits for it but `close`."""
        if (held := self._held.pop(partition, None)) is not None:
            task = asyncio.create_task(self._stop(held.producer))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _stop(self, producer: AIOKafkaProducer) -> None:
        try:
            async with asyncio.timeout(self._request_seconds):
                await producer.stop()
        except Exception as error:
            log.info("transactional_producer_dropped", error=str(error) or type(error).__name__)
        finally:
            await producer.client.close()
            _hush(producer)


def _hush(producer: AIOKafkaProducer) -> None:
    """aiokafka leaves a fatal error in futures that nobody awaits, and asyncio would print each as it goes."""
    accumulator = producer._message_accumulator
    batches = [*accumulator._pending_batches, *(one for lot in accumulator._batches.values() for one in lot)]
    for future in (producer._txn_manager.wait_for_transaction_end(), *(batch._drain_waiter for batch in batches)):
        if future is not None and future.done():
            consume_exception(future)
