"""One transaction per input partition and commit: outputs, dead letters and the position, all or nothing.

Each input partition has a transactional id of its own per group, and Kafka lets only the producer that was initialized
last under an id write. So a member that takes a partition over fences the former owner, and ends its open transaction,
before it reads the group's position. The group decides who may take over. It is asked before, because an expelled
member must not fence its successor, and again afterwards, because the member may have been expelled meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata

from streams.errors import Fenced
from streams.kafka.aiokafka_internals.client import limit_metadata_requests
from streams.kafka.aiokafka_internals.producer import for_each_unawaited, transaction_manager
from streams.kafka.batch_sender import build_batches, send
from streams.kafka.conversion import offsets_from
from streams.kafka.failures import Access, consume_exception, translated
from streams.kafka.membership import Membership
from streams.kafka.partition_batch import PartitionBatch
from streams.kafka.publisher import BATCH_BYTES, REQUEST_BYTES
from streams.kafka.settings import KafkaSettings
from streams.transport import Partition, Position

log = structlog.get_logger()

Positions: TypeAlias = Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, Position | None]]]
"""Reads the group's positions, with no transaction about to move them."""

OPEN_REQUESTS = 2.0
"""The cluster aborts an open transaction after this many times what a request may take."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A partition's producer, which belongs to one assignment."""

    epoch: int
    producer: AIOKafkaProducer


class Transactions:
    """The transactions of one member of `group`."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        membership: Membership,
        positions: Positions,
    ) -> None:
        self._client, self._group, self._membership = settings.client(), group, membership
        self._positions, self._request_seconds, self._compiled = positions, settings.request_seconds, settings.compiled
        self._claims: dict[Partition, _Claim] = {}
        self._unknown_outcome: dict[Partition, Position] = {}
        """Positions of transactions that may or may not have been committed."""
        self._retiring: set[asyncio.Task[None]] = set()

    async def claim(self, epochs: Mapping[Partition, int]) -> None:
        """Fence every other writer for these partitions. Raises Fenced if they are not this member's, Unavailable."""
        try:
            await self._membership.confirm(epochs)
            await self._start_all(epochs)
            await self._membership.confirm(epochs)
        except BaseException:
            for partition in epochs:
                self._retire(partition)  # an unconfirmed producer must not write
            raise

    async def write(
        self, partition: Partition, epoch: int, batches: Sequence[PartitionBatch], position: Position
    ) -> None:
        """Write everything, or nothing that a `read_committed` reader sees. Raises Fenced, Unavailable.

        Unavailable leaves open whether it was written: the same call again finds out, and does not write twice.
        """
        claim = self._claims.get(partition)
        if claim is None or claim.epoch != epoch:
            await self.claim({partition: epoch})
            claim = self._claims[partition]
            if await self._was_committed(claim, partition, position):
                return
        written = Access("Write", {batch.topic for batch in batches}, self._group, self._id(partition))
        with self._retire_on_error(claim, partition, position), translated(written):
            async with asyncio.timeout(self._request_seconds):
                await self._put(claim.producer, batches, offsets_from({partition: position}))
                await self._end(claim.producer)

    def keep(self, epochs: Mapping[Partition, int]) -> None:
        """Retire the producers of other assignments."""
        for partition, claim in list(self._claims.items()):
            if epochs.get(partition) != claim.epoch:
                self._retire(partition)
        self._unknown_outcome.clear()

    async def close(self) -> None:
        self.keep({})
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _start_all(self, epochs: Mapping[Partition, int]) -> None:
        starts = (self._start(partition, epoch) for partition, epoch in epochs.items())
        for error in await asyncio.gather(*starts, return_exceptions=True):
            if error is not None:
                raise error

    async def _start(self, partition: Partition, epoch: int) -> None:
        self._retire(partition)
        producer = AIOKafkaProducer(
            **self._client,
            transactional_id=self._id(partition),
            transaction_timeout_ms=round(1000 * OPEN_REQUESTS * self._request_seconds),
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )
        self._claims[partition] = _Claim(epoch, producer)
        try:
            with translated(Access(transactional_id=self._id(partition))):
                async with asyncio.timeout(self._request_seconds):
                    await producer.start()
            limit_metadata_requests(producer.client)
        except BaseException:
            self._retire(partition)
            raise

    def _id(self, partition: Partition) -> str:
        return f"{self._group}/{partition.topic}/{partition.index}"

    async def _was_committed(self, claim: _Claim, partition: Partition, position: Position) -> bool:
        """Whether the group is at `position` already. Raises Fenced where only a part of the outputs was committed."""
        uncertain = self._unknown_outcome.get(partition)
        with self._retire_on_error(claim, partition, uncertain):
            committed = (await self._positions([partition]))[partition]
        self._unknown_outcome.pop(partition, None)
        if committed is None or (committed.next_offset < position.next_offset and committed != uncertain):
            return False
        if committed.next_offset >= position.next_offset:
            return True
        self._membership.rejoin()
        name = f"{partition.topic}[{partition.index}]"
        raise Fenced(f"{name}: the group is at {committed.next_offset}; the partition is read again from there")

    @contextmanager
    def _retire_on_error(self, claim: _Claim, partition: Partition, uncertain: Position | None) -> Iterator[None]:
        """A producer that failed is not used again: the next one reads the group's position before it writes."""
        try:
            yield
        except BaseException:
            if self._claims.get(partition) is claim:
                self._retire(partition)
                if uncertain is not None:
                    self._unknown_outcome[partition] = uncertain
            raise

    async def _put(
        self,
        producer: AIOKafkaProducer,
        batches: Sequence[PartitionBatch],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        """Write everything into a transaction, which stays open: no committed reader sees it yet. Raises TooLarge.

        An error of the transaction itself, such as a right that is missing, is the cause of every other one.
        """
        ready = [(records, build_batches(producer, records, compiled=self._compiled)) for records in batches]
        await producer.begin_transaction()
        ended = transaction_manager(producer).wait_for_transaction_end()
        writing = asyncio.ensure_future(self._write(producer, ready, offsets))
        writing.add_done_callback(consume_exception)
        try:
            await asyncio.wait((writing, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            await writing
        finally:
            writing.cancel()

    async def _write(
        self,
        producer: AIOKafkaProducer,
        ready: Sequence[tuple[PartitionBatch, Sequence[BatchBuilder]]],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        acknowledged: list[asyncio.Future[Any]] = []
        for records, built in ready:
            of_partition: list[asyncio.Future[Any]] = []
            await send(producer, records, built, of_partition)
            acknowledged += of_partition
        await asyncio.gather(*acknowledged)
        await producer.send_offsets_to_transaction(offsets, self._group)

    async def _end(self, producer: AIOKafkaProducer) -> None:
        await producer.commit_transaction()

    def _retire(self, partition: Partition) -> None:
        """Stopping may take as long as a request: only `close` waits for it."""
        if (claim := self._claims.pop(partition, None)) is not None:
            task = asyncio.create_task(self._stop(claim.producer))
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
            for_each_unawaited(producer, consume_exception)
