"""One member of a Kafka consumer group: polls fairly, keeps its membership, never resets where it reads.

One fetch at a time runs in a task of its own that is never cancelled: a cancelled one would switch aiokafka's
watchdog off for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from streams.errors import Fenced, Gap
from streams.kafka.buffer import FairBuffer
from streams.kafka.failures import translated
from streams.kafka.lots import PartitionBatch
from streams.kafka.membership import Membership, from_aiokafka, to_aiokafka
from streams.kafka.transactions import Transactions
from streams.kafka.unpacking import runs
from streams.transport import NewRecord, Partition, Position, Record

Fetched: TypeAlias = dict[TopicPartition, list[Any]]
"""What `runs` takes, by partition."""

NOWHERE = TopicPartition("none", 0)
"""Fetching from a partition that does not exist feeds the watchdog and takes nothing."""

LOST_COUNT = (NoOffsetForPartitionError, OffsetOutOfRangeError)
"""Raising these, aiokafka forgets to count the fetch as ended, and its watchdog stands still."""

FETCH_SECONDS = 0.5
"""A fetch waits so long at most: it has to end before the consumer can be stopped."""


class KafkaConsumer:
    """See `streams.transport.Consumer`. `membership.late_positions` counts commits of ended assignments."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        membership: Membership,
        positions: Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, Position | None]]],
        lag: Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, int]]],
        publish: Callable[[Sequence[NewRecord]], Awaitable[None]],
        transactions: Transactions | None,
        lots: Callable[[Sequence[NewRecord]], Awaitable[Sequence[PartitionBatch]]],
        request_seconds: float,
    ) -> None:
        self._consumer, self.membership = consumer, membership
        self._positions, self._lag, self._publish = positions, lag, publish
        self._transactions, self._lots = transactions, lots
        self._request_seconds = request_seconds
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
            with translated():
                await self._refill(0.0 if self._buffer else max(0.0, min(left, FETCH_SECONDS)))
            self._raise_what_happened()
            if records := self._take(max_records):
                return records
            if left <= 0:
                return ()

    async def keep_alive(self) -> None:
        self._raise_what_happened()
        with translated():
            await self._collect(self._fetching or self._fetch([NOWHERE], 0.0), 0.0)

    def assignment(self) -> Mapping[Partition, int]:
        return dict(self.membership.epochs)

    async def committed(self, partition: Partition) -> Position | None:
        return (await self._positions([partition]))[partition]

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
            lots, epoch = await self._lots(outgoing), epochs.get(partition, -1)
            await self._transactions.write(partition, epoch, lots, position)
            return
        self.membership.check({partition: epochs.get(partition, -1) for partition in positions})
        await self._publish(outgoing)
        await self.membership.commit(positions, epochs)

    async def lag(self) -> Mapping[Partition, int]:
        return await self._lag(list(self.membership.epochs))

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
        """Take up a new assignment: forget what was fetched for an earlier one, decide where reading starts."""
        membership = self.membership
        if self._buffered is not membership.epochs:
            self._buffered = membership.epochs
            self._buffer.hold(())
        if membership.unplaced and not membership.leaving:
            epochs, unplaced = membership.epochs, sorted(membership.unplaced)
            if not await self._is_claimed(epochs):
                return
            with translated():
                parked = await asyncio.wait_for(self._place(unplaced), self._request_seconds)
            if membership.epochs is epochs:
                membership.unplaced = set()
                self._buffer.hold(set(unplaced) - parked)

    async def _is_claimed(self, epochs: Mapping[Partition, int]) -> bool:
        """With transactions: shut out earlier owners before it is read where they left off."""
        if self._transactions is None:
            return True
        self._transactions.keep(epochs)
        try:
            await self._transactions.claim(epochs)
        except Fenced:
            return False  # another assignment is on its way
        return True

    async def _place(self, partitions: Sequence[Partition]) -> set[Partition]:
        """Start at the group's position, or at the earliest for a new group; those with a gap are parked."""
        places = [to_aiokafka(partition) for partition in partitions]
        starts = await self._consumer.beginning_offsets(places)
        parked: set[Partition] = set()
        positions = await self._positions(partitions)
        self._forget_fetched()
        for partition, position in positions.items():
            place = to_aiokafka(partition)
            if place not in self._consumer.assignment():
                continue
            if position is not None and position.next_offset < starts[place]:
                self._park(partition, f"the group is at {position.next_offset}, the log starts at {starts[place]}")
                parked.add(partition)
            else:
                self._consumer.seek(place, starts[place] if position is None else position.next_offset)
        return parked

    def _forget_fetched(self) -> None:
        """What was fetched before it is decided where reading starts: taken up now, it would pass what lies before."""
        if self._fetching is not None and self._fetching.done():
            self._end(self._fetching)

    def _end(self, fetching: asyncio.Task[Fetched]) -> None:
        """The fetch under way is done: the next one may begin."""
        self._fetching = None
        if isinstance(fetching.exception(), LOST_COUNT):
            self._consumer._subscription._fetch_count -= 1

    async def _refill(self, seconds: float) -> None:
        """Fetch for partitions of which nothing is left; the others keep what they have and wait their turn."""
        places = [to_aiokafka(partition) for partition in self._buffer.hungry()] or [NOWHERE]
        await self._collect(self._fetching or self._fetch(places, seconds), seconds)

    def _fetch(self, places: Sequence[TopicPartition], seconds: float) -> asyncio.Task[Fetched]:
        fetching = asyncio.create_task(self._consumer.getmany(*places, timeout_ms=round(1000 * seconds)))
        self._fetching = fetching
        return fetching

    async def _collect(self, fetching: asyncio.Task[Fetched], seconds: float) -> None:
        """Wait so long for the fetch under way; it goes on if that is not enough, or if the caller is cancelled."""
        await asyncio.wait({fetching}, timeout=seconds + 0.001)
        if not fetching.done():
            return
        self._end(fetching)
        try:
            fetched = fetching.result()
        except NoOffsetForPartitionError:
            return  # it looked before we had said where a new group starts; raising it took it off the partition
        except OffsetOutOfRangeError as error:
            for place, offset in error.args[0].items():
                self._park(from_aiokafka(place), f"the group is at {offset}, which is not in the log")
            return
        for place, records in fetched.items():
            partition = from_aiokafka(place)
            if (epoch := self._buffered.get(partition)) is not None:
                self._buffer.add(partition, runs(partition, epoch, records))

    def _take(self, count: int) -> list[Record]:
        if self.membership.leaving or self._buffered is not self.membership.epochs:
            return []
        return list(chain.from_iterable(records for _, records in self._buffer.take(count)))

    def _park(self, partition: Partition, why: str) -> None:
        self._buffer.drop(partition)
        self._consumer.pause(to_aiokafka(partition))
        self._gaps.append(Gap(f"{partition.topic}[{partition.index}]: {why}; the partition stands still"))

    def _raise_what_happened(self) -> None:
        if self.membership.failures:
            raise self.membership.failures.pop(0)
        if self._gaps:
            raise self._gaps.pop(0)
