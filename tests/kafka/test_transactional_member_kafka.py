"""What a member does when its transactions fail: it finds out what is there, writes the rest, and nothing twice."""

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
from tests.contract.transport_suite import Ear, number, values
from tests.kafka.conftest import own_broker
from tests.kafka.test_membership_kafka import take

DEADLINE_SECONDS = 240.0
"""A broker may take a minute to start on a busy machine."""


class Forgetful(Transactions):
    """The answer to the first commit is lost on its way, and so is where the group stands when that is asked next."""

    lost = asked = False

    async def _end(self, producer: AIOKafkaProducer) -> None:
        await super()._end(producer)
        if not self.lost:
            self.lost = True
            raise ConnectionResetError("the answer is lost")


class ForgetfulTransport(KafkaTransport):
    def transactions(self, group: str, membership: Membership, positions: Positions) -> Transactions:
        async def asked(partitions: Sequence[Partition]) -> Mapping[Partition, Position | None]:
            if forgetful.lost and not forgetful.asked:
                forgetful.asked = True
                raise Unavailable("this answer is lost too")
            return await positions(partitions)

        forgetful = Forgetful(self.settings, group, membership, asked)
        return forgetful


class Here:
    """A member that has taken twenty records, and a topic for its outputs."""

    def __init__(self, transport: KafkaTransport) -> None:
        self.transport = transport
        self.source, self.target, self.group = (f"{name}-{uuid4().hex[:12]}" for name in ("in", "out", "group"))
        self.place = Partition(self.source, 0)
        self.consumer: Consumer

    async def write(self, first: int, end: int) -> None:
        await self.consumer.publish_and_commit(
            values(self.target, "a", range(first, end)), {self.place: Position(end)}, self.consumer.assignment()
        )

    async def write_at_last(self, first: int, end: int) -> int:
        """Again and again, as the runtime does; how often it was in vain."""
        in_vain = 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    await self.write(first, end)
                except Unavailable:
                    in_vain += 1
                    await self.consumer.keep_alive()
                else:
                    return in_vain

    async def written(self) -> list[int]:
        return [number(record) for record in await self.transport.read(Partition(self.target, 0), 0, 100)]


@asynccontextmanager
async def member(
    cluster: Cluster, kind: Callable[[KafkaSettings], KafkaTransport] = KafkaTransport, **keys: float
) -> AsyncIterator[Here]:
    query = "".join(f"&{name}={value}" for name, value in keys.items())
    transport = kind(KafkaSettings.from_url(f"kafka://{cluster.bootstrap}?delivery=transactional{query}"))
    await transport.open()
    here = Here(transport)
    await transport.create([TopicSpec(here.source, 1), TopicSpec(here.target, 1)])
    await transport.publish(values(here.source, "a", range(20)))
    here.consumer = await transport.consumer(here.group, [here.source], Ear())
    await take(here.consumer, 20)
    try:
        yield here
    finally:
        await transport.close()


async def test_a_commit_whose_answer_was_lost_is_not_written_again(cluster: Cluster) -> None:
    async with member(cluster, ForgetfulTransport) as here:
        assert await here.write_at_last(0, 5) == 2
        await here.write(5, 8)
        assert await here.written() == list(range(8))
        assert await here.consumer.committed(here.place) == Position(8)


async def test_after_a_lost_answer_nothing_that_holds_more_is_written(cluster: Cluster) -> None:
    """A part of it may be there: the partition is read anew, from where the group stands."""
    async with member(cluster, ForgetfulTransport) as here:
        before = here.consumer.assignment()[here.place]
        for end in (5, 8):
            with pytest.raises(Unavailable):
                await here.write(0, end)
        with pytest.raises(Fenced):
            await here.write(0, 8)
        assert [record.offset for record in await take(here.consumer, 15)] == list(range(5, 20))
        assert here.consumer.assignment()[here.place] > before
        await here.write(5, 8)
        assert await here.written() == list(range(8))


async def test_a_member_that_was_shut_out_by_mistake_goes_on(cluster: Cluster) -> None:
    """The cluster ends a transaction that takes too long as if another had taken over: the group knows better."""
    async with member(cluster) as here:
        await here.write(0, 3)
        intruder = AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap, transactional_id=f"{here.group}/{here.source}/0"
        )
        await intruder.start()
        await intruder.stop()
        assert await here.write_at_last(3, 6) == 1
        assert await here.written() == list(range(6))
        assert await here.consumer.committed(here.place) == Position(6)


@pytest.mark.timeout(600)
async def test_a_broker_that_is_killed_among_transactions_costs_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    with own_broker(tmp_path, VERSION) as cluster:
        async with member(cluster, session_seconds=30, request_seconds=3) as here:
            for at in range(20):
                if at % 10 == 3:
                    writing = asyncio.create_task(here.write_at_last(at, at + 1))
                    await asyncio.wait([writing], timeout=0.004 * at)
                    cluster.nodes[0].kill()
                    await asyncio.to_thread(cluster.start)
                    await writing
                else:
                    await here.write_at_last(at, at + 1)
            assert await here.written() == list(range(20))
            assert await here.consumer.committed(here.place) == Position(20)
