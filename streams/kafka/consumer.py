"""One member of a Kafka consumer group: polls fairly, keeps its membership, never resets where it reads.

One fetch at a time runs in a task of its own that is never cancelled: a cancelled fetch would disable aiokafka's poll
watchdog for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from streams.errors import Fenced, Gap
from streams.kafka.aiokafka_internals.fetcher import count_ended_fetch
from streams.kafka.conversion import from_aiokafka, to_aiokafka
from streams.kafka.failures import Access, translated
from streams.kafka.fair_buffer import FairBuffer
from streams.kafka.fetched_records import runs
from streams.kafka.membership import Membership
from streams.kafka.partition_batch import PartitionBatch
from streams.kafka.transactions import Transactions
from streams.transport import NewRecord, Partition, Position, Record

Fetched: TypeAlias = dict[TopicPartition, list[Any]]
"""What `runs` takes, by partition."""

NO_PARTITION = TopicPartition("none", 0)
"""A fetch from a partition that does not exist feeds the watchdog and takes nothing."""

FETCH_SECONDS = 0.5
"""Longest wait of a fetch: it has to end before the consumer can be stopped."""


@dataclass(frozen=True, slots=True)
class GroupAccess:
    """What a consumer calls on its cluster besides its own membership."""

    positions: Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, Position | None]]]
    """The group's positions, with no transaction about to move them."""
    lag: Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, int]]]
    publish: Callable[[Sequence[NewRecord]], Awaitable[None]]
    by_partition: Callable[[Sequence[NewRecord]], Awaitable[Sequence[PartitionBatch]]]
    read: Access
    """What the member reads."""


class KafkaConsumer:
    """See `streams.transport.Consumer`. `membership.late_positions` counts commits of ended assignments."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        membership: Membership,
        group: GroupAccess,
        transactions: Transactions | None,
        request_seconds: float,
    ) -> None:
        self._consumer, self.membership, self._group = consumer, membership, group
        self._transactions, self._request_seconds = transactions, request_seconds
        self._buffer: FairBuffer[Partition, Record] = FairBuffer()
        self._buffered: Mapping[Partition, int] = {}
        self._fetching: asyncio.Task[Fetched] | None = None
        self._gaps: list[Gap] = []
        self._closed = False

    async def poll(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while True:
            await self._follow()
            left = deadline - loop.time()
            with translated(self._group.read):
                await self._refill(0.0 if self._buffer else max(0.0, min(left, FETCH_SECONDS)))
            self._raise_pending()
            if records := self._take(max_records):
                return records
            if left <= 0:
                return ()

    async def keep_alive(self) -> None:
        self._raise_pending()
        with translated(self._group.read):
            await self._collect(self._fetching or self._fetch([NO_PARTITION], 0.0), 0.0)

    def assignment(self) -> Mapping[Partition, int]:
        return dict(self.membership.epochs)

    async def committed(self, partition: Partition) -> Position | None:
        return (await self._group.positions([partition]))[partition]

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        await self.membership.commit(positions, epochs)

    async def publish_and_commit(
        self,
        outgoing: Sequence[NewRecord],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        """In one transaction, for one partition; else the outputs are acknowledged before positions are committed."""
        if self._transactions is not None:
            ((partition, position),) = positions.items()
            batches, epoch = await self._group.by_partition(outgoing), epochs.get(partition, -1)
            await self._transactions.write(partition, epoch, batches, position)
            return
        self.membership.check({partition: epochs.get(partition, -1) for partition in positions})
        await self._group.publish(outgoing)
        await self.membership.commit(positions, epochs)

    async def lag(self) -> Mapping[Partition, int]:
        return await self._group.lag(list(self.membership.epochs))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self.membership.hand_over()
        finally:
            if self._transactions is not None:
                await self._transactions.close()
            await self._consumer.stop()
            if self._fetching is not None:
                await asyncio.gather(self._fetching, return_exceptions=True)

    async def _follow(self) -> None:
        """Adopt a new assignment: drop what was fetched for an earlier one, decide where reading starts."""
        membership = self.membership
        if self._buffered is not membership.epochs:
            self._buffered = membership.epochs
            self._buffer.hold(())
        if membership.unpositioned and not membership.leaving:
            epochs, unpositioned = membership.epochs, sorted(membership.unpositioned)
            if not await self._is_claimed(epochs):
                return
            with translated(self._group.read):
                parked = await asyncio.wait_for(self._seek(unpositioned), self._request_seconds)
            if membership.epochs is epochs:
                membership.unpositioned = set()
                self._buffer.hold(set(unpositioned) - parked)

    async def _is_claimed(self, epochs: Mapping[Partition, int]) -> bool:
        """With transactions: fence earlier owners before reading where the group stands."""
        if self._transactions is None:
            return True
        self._transactions.keep(epochs)
        try:
            await self._transactions.claim(epochs)
        except Fenced:
            return False  # another assignment is on its way
        return True

    async def _seek(self, partitions: Sequence[Partition]) -> set[Partition]:
        """Start at the group's position, or at the earliest for a new group; returns those parked for a gap."""
        topic_partitions = [to_aiokafka(partition) for partition in partitions]
        starts = await self._consumer.beginning_offsets(topic_partitions)
        ends = await self._consumer.end_offsets(topic_partitions)
        parked: set[Partition] = set()
        positions = await self._group.positions(partitions)
        self._drop_finished_fetch()
        for partition, position in positions.items():
            topic_partition = to_aiokafka(partition)
            if topic_partition not in self._consumer.assignment():
                continue
            start, end = starts[topic_partition], ends[topic_partition]
            if position is not None and not start <= position.next_offset <= end:
                self._park(partition, position.next_offset, f"the log is from {start} to {end}")
                parked.add(partition)
            else:
                self._consumer.seek(topic_partition, start if position is None else position.next_offset)
        return parked

    def _drop_finished_fetch(self) -> None:
        """It began before it was decided where reading starts: its records would pass earlier ones."""
        if self._fetching is not None and self._fetching.done():
            self._end(self._fetching)

    def _end(self, fetching: asyncio.Task[Fetched]) -> None:
        """The fetch under way is done: the next one may begin."""
        self._fetching = None
        count_ended_fetch(self._consumer, fetching.exception())

    async def _refill(self, seconds: float) -> None:
        """Fetch for empty partitions; the others keep what they have and wait topic_partition turn."""
        partitions = [to_aiokafka(partition) for partition in self._buffer.empty()] or [NO_PARTITION]
        await self._collect(self._fetching or self._fetch(partitions, seconds), seconds)

    def _fetch(self, partitions: Sequence[TopicPartition], seconds: float) -> asyncio.Task[Fetched]:
        fetching = asyncio.create_task(self._consumer.getmany(*partitions, timeout_ms=round(1000 * seconds)))
        self._fetching = fetching
        return fetching

    async def _collect(self, fetching: asyncio.Task[Fetched], seconds: float) -> None:
        """Wait up to `seconds` for the fetch under way; it goes on after that, and if the caller is cancelled."""
        await asyncio.wait({fetching}, timeout=seconds + 0.001)
        if not fetching.done():
            return
        self._end(fetching)
        try:
            fetched = fetching.result()
        except NoOffsetForPartitionError:
            return  # it began before `_seek` for a new group; raising the error cleared it
        except OffsetOutOfRangeError as error:
            for topic_partition, offset in error.args[0].items():
                self._park(from_aiokafka(topic_partition), offset, "which is not in the log")
            return
        for topic_partition, records in fetched.items():
            partition = from_aiokafka(topic_partition)
            if (epoch := self._buffered.get(partition)) is not None:
                self._buffer.add(partition, runs(partition, epoch, records))

    def _take(self, count: int) -> list[Record]:
        if self.membership.leaving or self._buffered is not self.membership.epochs:
            return []
        return list(chain.from_iterable(records for _, records in self._buffer.take(count)))

    def _park(self, partition: Partition, offset: int, why: str) -> None:
        self._buffer.drop(partition)
        self._consumer.pause(to_aiokafka(partition))
        name = f"{partition.topic}[{partition.index}]"
        stands = f"{name}: group {self._group.read.group} is at {offset}, {why}; the partition is paused"
        self._gaps.append(Gap(f"{stands} until its position is reset (docs/runbook.md, Lost records)"))

    def _raise_pending(self) -> None:
        if self.membership.failures:
            raise self.membership.failures.pop(0)
        if self._gaps:
            raise self._gaps.pop(0)
