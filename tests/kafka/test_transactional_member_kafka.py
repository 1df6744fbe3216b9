"""What a member does when its transactions fail: it reads what was committed, writes the rest, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.cluster import VERSION, Cluster
from streams.errors import Fenced, Unavailable
from streams.kafka.membership import Membership
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import Positions, Transactions
from streams.kafka.transport import KafkaTransport
from streams.transport import Consumer, Partition, Position, TopicSpec
from tests.contract.transport_suite import RecordingListener, number, values
from tests.kafka.conftest import own_broker
from tests.kafka.test_membership_kafka import take

DEADLINE_SECONDS = 240.0
"""A broker may take a minute to start on a busy machine."""


class LossyTransactions(Transactions):
    """The answer to the first commit is lost, and so is the next read of the group's position."""

    commit_lost = read_lost = False

    async def _end(self, producer: AIOKafkaProducer) -> None:
        await super()._end(producer)
        if not self.commit_lost:
            self.commit_lost = True
            raise ConnectionResetError("the answer is lost")


class LossyTransport(KafkaTransport):
    def transactions(self, group: str, membership: Membership, positions: Positions) -> Transactions:
        async def lossy_positions(partitions: Sequence[Partition]) -> Mapping[Partition, Position | None]:
            if lossy.commit_lost and not lossy.read_lost:
                lossy.read_lost = True
                raise Unavailable("this answer is lost too")
            return await positions(partitions)

        lossy = LossyTransactions(self.settings, group, membership, lossy_positions)
        return lossy


class TransactionalMember:
    """A member that has taken twenty records, and a topic for its outputs."""

    def __init__(self, transport: KafkaTransport) -> None:
        self.transport = transport
        self.source, self.target, self.group = (f"{name}-{uuid4().hex[:12]}" for name in ("in", "out", "group"))
        self.partition = Partition(self.source, 0)
        self.consumer: Consumer

    async def write(self, first: int, end: int) -> None:
        await self.consumer.publish_and_commit(
            values(self.target, "a", range(first, end)), {self.partition: Position(end)}, self.consumer.assignment()
        )

    async def write_with_retries(self, first: int, end: int) -> int:
        """Try until it succeeds, as the runtime does; how many attempts failed."""
        failed = 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    await self.write(first, end)
                except Unavailable:
                    failed += 1
                    await self.consumer.keep_alive()
                else:
                    return failed

    async def written(self) -> list[int]:
        return [number(record) for record in await self.transport.read(Partition(self.target, 0), 0, 100)]


@asynccontextmanager
async def member(
    cluster: Cluster, kind: Callable[[KafkaSettings], KafkaTransport] = KafkaTransport, **keys: float
) -> AsyncIterator[TransactionalMember]:
    query = "".join(f"&{name}={value}" for name, value in keys.items())
    transport = kind(KafkaSettings.from_url(f"kafka://{cluster.bootstrap}?delivery=transactional{query}"))
    await transport.open()
    subject = TransactionalMember(transport)
    await transport.create([TopicSpec(subject.source, 1), TopicSpec(subject.target, 1)])
    await transport.publish(values(subject.source, "a", range(20)))
    subject.consumer = await transport.consumer(subject.group, [subject.source], RecordingListener())
    await take(subject.consumer, 20)
    try:
        yield subject
    finally:
        await transport.close()


async def test_a_commit_whose_answer_was_lost_is_not_written_again(cluster: Cluster) -> None:
    async with member(cluster, LossyTransport) as subject:
        assert await subject.write_with_retries(0, 5) == 2
        await subject.write(5, 8)
        assert await subject.written() == list(range(8))
        assert await subject.consumer.committed(subject.partition) == Position(8)


async def test_after_a_lost_answer_nothing_that_holds_more_is_written(cluster: Cluster) -> None:
    """A part of it may have been committed: the partition is read again from the group's position."""
    async with member(cluster, LossyTransport) as subject:
        before = subject.consumer.assignment()[subject.partition]
        for end in (5, 8):
            with pytest.raises(Unavailable):
                await subject.write(0, end)
        with pytest.raises(Fenced):
            await subject.write(0, 8)
        assert [record.offset for record in await take(subject.consumer, 15)] == list(range(5, 20))
        assert subject.consumer.assignment()[subject.partition] > before
        await subject.write(5, 8)
        assert await subject.written() == list(range(8))


async def test_a_member_that_was_fenced_by_mistake_goes_on(cluster: Cluster) -> None:
    """The cluster fences a producer whose transaction takes too long; its member still holds the partition."""
    async with member(cluster) as subject:
        await subject.write(0, 3)
        intruder = AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap, transactional_id=f"{subject.group}/{subject.source}/0"
        )
        await intruder.start()
        await intruder.stop()
        assert await subject.write_with_retries(3, 6) == 1
        assert await subject.written() == list(range(6))
        assert await subject.consumer.committed(subject.partition) == Position(6)


@pytest.mark.timeout(600)
async def test_a_broker_that_is_killed_between_transactions_loses_and_repeats_nothing(tmp_path: Path) -> None:
    with own_broker(tmp_path, VERSION) as cluster:
        async with member(cluster, session_seconds=30, request_seconds=3) as subject:
            for number in range(20):
                if number % 10 == 3:
                    writing = asyncio.create_task(subject.write_with_retries(number, number + 1))
                    await asyncio.wait([writing], timeout=0.004 * number)
                    cluster.nodes[0].kill()
                    await asyncio.to_thread(cluster.start)
                    await writing
                else:
                    await subject.write_with_retries(number, number + 1)
            assert await subject.written() == list(range(20))
            assert await subject.consumer.committed(subject.partition) == Position(20)
