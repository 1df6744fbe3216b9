"""What only a broker does to its clients: it crashes, expels members, waits for slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.cluster import VERSION, Cluster
from streams.errors import Fenced, Unavailable
from streams.kafka.aiokafka_internals.coordinator import coordinator
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.transport import KafkaTransport
from streams.transport import Consumer, NewRecord, Partition, Position, Record, TopicSpec
from tests.contract.transport_suite import RecordingListener, values
from tests.kafka.conftest import own_broker


@asynccontextmanager
async def opened(cluster: Cluster, **keys: float) -> AsyncIterator[KafkaTransport]:
    query = "&".join(f"{name}={value}" for name, value in keys.items())
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?{query}")
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


async def new_topic(transport: KafkaTransport) -> str:
    name = f"topic-{uuid4().hex[:12]}"
    await transport.create([TopicSpec(name, 1)])
    return name


async def take(consumer: Consumer, count: int) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(60):
        while len(records) < count:
            records += await consumer.poll(count - len(records), 0.5)
    return records


async def stall(seconds: float) -> None:
    """Let time pass for the broker and its clients; no condition shows when it is enough."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


async def test_a_member_that_keeps_alive_stays_beyond_the_poll_interval(cluster: Cluster) -> None:
    """The index is down for longer than `max_poll_seconds`: no rebalance, and what was fetched is still there."""
    async with opened(cluster, session_seconds=2, max_poll_seconds=1.5) as transport:
        topic, listener = await new_topic(transport), RecordingListener()
        await transport.publish(values(topic, "a", range(20)))
        consumer = await transport.consumer(topic, [topic], listener)
        await take(consumer, 5)
        for _ in range(16):
            await consumer.keep_alive()
            await stall(0.25)
        assert listener.events == [("assigned", frozenset({Partition(topic, 0)}))]
        assert [record.offset for record in await take(consumer, 15)] == list(range(5, 20))


async def test_what_was_fetched_before_a_rebalance_does_not_pass_what_is_read_again(cluster: Cluster) -> None:
    """Nothing is committed: after the rebalance everything comes again, from the first record and in order."""
    async with opened(cluster, session_seconds=2) as transport:
        topic, listener = await new_topic(transport), RecordingListener()
        await transport.publish(values(topic, "a", range(20)))
        consumer = await transport.consumer(topic, [topic], listener)
        await take(consumer, 20)
        with suppress(TimeoutError):  # leaves a fetch under way that no poll waits for
            async with asyncio.timeout(0.05):
                await consumer.poll(20, 5.0)
        await transport.publish(values(topic, "a", range(20, 40)))
        await stall(1.0)
        assert isinstance(consumer, KafkaConsumer)
        consumer.membership.rejoin()
        async with asyncio.timeout(30):
            while len(listener.events) < 3:
                await stall(0.1)
        assert [record.offset for record in await take(consumer, 40)] == list(range(40))


async def test_a_member_that_hangs_loses_its_partitions_and_its_listener_is_called(cluster: Cluster) -> None:
    async with opened(cluster, session_seconds=2, max_poll_seconds=1) as transport:
        topic = await new_topic(transport)
        here = Partition(topic, 0)
        refused: list[bool] = []

        async def drain(partitions: Sequence[Partition]) -> None:
            with pytest.raises(Fenced):
                await hung.commit({here: Position(1)}, epochs)
            refused.append(True)

        listener = RecordingListener(drain)
        await transport.publish(values(topic, "a", range(20)))
        hung = await transport.consumer(topic, [topic], listener)
        await take(hung, 5)
        epochs = dict(hung.assignment())
        async with asyncio.timeout(30):
            while not refused:
                await stall(0.1)
        other = await transport.consumer(topic, [topic], RecordingListener())
        assert [record.offset for record in await take(other, 3)] == [0, 1, 2]
        await other.commit({here: Position(3)}, other.assignment())
        with pytest.raises(Fenced):
            await hung.commit({here: Position(1)}, epochs)
        assert await other.committed(here) == Position(3)
        await other.close()
        listener.drain = None
        assert [record.offset for record in await take(hung, 2)] == [3, 4]


async def test_a_member_that_is_expelled_while_it_drains_commits_nothing(cluster: Cluster) -> None:
    """The group is empty by then, and a broker accepts a commit without a generation from any client."""
    async with opened(cluster, session_seconds=1) as transport:
        topic = await new_topic(transport)
        here = Partition(topic, 0)
        refused: list[bool] = []

        async def drain(partitions: Sequence[Partition]) -> None:
            coordinator(late.membership._consumer).reset_generation()
            await stall(2.5)
            with pytest.raises(Fenced):
                await late.commit({here: Position(1)}, epochs)
            refused.append(True)

        await transport.publish(values(topic, "a", range(5)))
        late: Any = await transport.consumer(topic, [topic], RecordingListener(drain))
        await take(late, 5)
        epochs = dict(late.assignment())
        await late.commit({here: Position(5)}, epochs)
        await late.close()
        assert refused
        assert (await transport.group_lag(topic, [topic]))[here] == 0


async def test_a_cancelled_poll_loses_nothing(cluster: Cluster) -> None:
    async with opened(cluster) as transport:
        topic = await new_topic(transport)
        consumer = await transport.consumer(topic, [topic], RecordingListener())
        taken: list[Record] = []
        for number in range(30):
            await transport.publish(values(topic, "a", [number]))
            polling = asyncio.create_task(consumer.poll(10, 5.0))
            await asyncio.wait([polling], timeout=0.0005 * number)
            polling.cancel()
            taken += [
                record
                for result in await asyncio.gather(polling, return_exceptions=True)
                if not isinstance(result, BaseException)
                for record in result
            ]
        taken += await take(consumer, 30 - len(taken))
        assert [record.offset for record in taken] == list(range(30))


async def test_a_broker_that_is_killed_and_restarted_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Publishing and committing fail as unavailable or wait; then everything goes on with the same objects."""
    with own_broker(tmp_path, VERSION) as cluster:
        async with opened(cluster, session_seconds=6, request_seconds=2) as transport:
            topic = await new_topic(transport)
            here = Partition(topic, 0)
            acknowledged: list[int] = []
            consumer = await transport.consumer(topic, [topic], RecordingListener())
            for number in range(30):
                if number == 10:
                    cluster.nodes[0].kill()
                if number == 13:
                    await asyncio.to_thread(cluster.start)
                try:
                    await transport.publish([NewRecord(topic, b"a", b"%d" % number)])
                    acknowledged.append(number)
                except Unavailable:
                    assert number >= 10
            read: dict[int, int] = {}
            async with asyncio.timeout(60):
                while await consumer.committed(here) is None:
                    read |= {record.offset: int(record.value or b"") for record in await consumer.poll(100, 1.0)}
                    if set(acknowledged) <= set(read.values()):
                        with suppress(Fenced):  # a broker that starts slowly has expired the member: it joins again
                            await consumer.commit({here: Position(max(read) + 1)}, consumer.assignment())
            assert await consumer.committed(here) == Position(max(read) + 1)
            assert {*range(10), *range(20, 30)} <= set(acknowledged)
