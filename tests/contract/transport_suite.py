"""What every transport must do. A transport's test class subclasses `TransportSuite`.

Each test has a topic and a group of its own, because a real broker is shared. Nothing sleeps: consumers are polled
until a condition holds or the suite's deadline has passed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from schemas.identity import partition_of
from streams.errors import Fenced, Gap, PlanError, TooLarge
from streams.transport import Consumer, NewRecord, Partition, Position, Record, TopicSpec, Transport
from tests.support.transport_urls import connect


@dataclass
class RecordingListener:
    """A listener that records its calls in order; `drain` runs in `revoked`."""

    drain: Callable[[Sequence[Partition]], Awaitable[None]] | None = None
    events: list[tuple[str, frozenset[Partition]]] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    """May be shared between members, to compare the order of their calls."""
    name: str = ""

    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        self.events.append(("assigned", frozenset(partitions)))
        self.journal.append(f"{self.name} assigned")

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        self.events.append(("revoked", frozenset(partitions)))
        if self.drain is not None:
            await self.drain(partitions)
        self.journal.append(f"{self.name} drained")


def values(topic: str, key: str, numbers: Sequence[int]) -> list[NewRecord]:
    return [NewRecord(topic, key.encode(), b"%d" % number, {"n": b"%d" % number}) for number in numbers]


def number(record: Record) -> int:
    assert record.value is not None
    return int(record.value)


def key_for(index: int, partitions: int) -> str:
    """A key that lands in this partition."""
    return next(key for key in map(str, range(10_000)) if partition_of(key.encode(), partitions) == index)


class TransportSuite:
    """Subclasses provide the fixture `url`, and what differs between transports: `lose` and `compact`."""

    deadline_seconds = 15.0
    """For what takes a rebalance: it has to cover a broker's session timeout."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    async def lose(self, transport: Transport, partition: Partition, before: int) -> None:
        """Drop a partition's records before an offset, finished or not."""
        raise NotImplementedError

    async def compact(self, transport: Transport, topic: str) -> None:
        """Return when superseded values of a compacted topic are gone; records of other keys may be added for that."""
        raise NotImplementedError

    # -- fixtures and helpers ----------------------------------------------------------------------------------

    @pytest.fixture
    async def transport(self, url: str) -> AsyncIterator[Transport]:
        async with self.opened(url) as transport:
            yield transport

    @asynccontextmanager
    async def opened(self, url: str) -> AsyncIterator[Transport]:
        transport = connect(url)
        await transport.open()
        try:
            yield transport
        finally:
            await transport.close()

    @pytest.fixture
    def group(self) -> str:
        return f"group-{uuid4().hex[:12]}"

    @pytest.fixture
    async def topic(self, transport: Transport) -> str:
        """A topic of one partition."""
        return await self.new_topic(transport, 1)

    async def new_topic(self, transport: Transport, partitions: int, **bounds: int) -> str:
        name = f"topic-{uuid4().hex[:12]}"
        await transport.create([TopicSpec(name, partitions, **bounds)])  # type: ignore[arg-type]
        return name

    @asynccontextmanager
    async def member(
        self, transport: Transport, group: str, topics: str | Sequence[str], listener: RecordingListener | None = None
    ) -> AsyncIterator[Consumer]:
        names = [topics] if isinstance(topics, str) else topics
        consumer = await transport.consumer(group, names, listener or RecordingListener())
        try:
            yield consumer
        finally:
            await consumer.close()

    async def take(self, consumer: Consumer, count: int) -> list[Record]:
        """Exactly `count` records."""
        records: list[Record] = []
        ends = time.monotonic() + self.deadline_seconds
        while len(records) < count and time.monotonic() < ends:
            records += await consumer.poll(count - len(records), 0.2)
        assert len(records) == count
        return records

    async def poll_until(self, done: Callable[[list[list[Record]]], bool], *consumers: Consumer) -> list[list[Record]]:
        """Poll all consumers at once until the condition holds; each one's records."""
        taken: list[list[Record]] = [[] for _ in consumers]

        async def poll(consumer: Consumer, records: list[Record]) -> None:
            while not done(taken):
                records += await consumer.poll(100, 0.05)

        async with asyncio.timeout(self.deadline_seconds):
            await asyncio.gather(*map(poll, consumers, taken))
        return taken

    async def hold(self, consumer: Consumer, count: int) -> None:
        """Poll until the consumer holds `count` partitions; fails if a record comes."""
        (records,) = await self.poll_until(lambda _: len(consumer.assignment()) == count, consumer)
        assert not records

    @asynccontextmanager
    async def process(self, *arguments: str) -> AsyncIterator[Process]:
        """A process of `transport_member` whose transport is open; it is killed with SIGKILL afterwards."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contract.transport_member", *arguments, stdout=PIPE
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"open\n"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    # -- records -----------------------------------------------------------------------------------------------

    async def test_a_record_comes_back_as_it_was_sent(self, transport: Transport, topic: str, group: str) -> None:
        before = time.time() - 1
        headers = {"ce_id": b"1", "content-type": b"image/jpeg", "empty": b""}
        await transport.publish([NewRecord(topic, b"lobby", b"\x00\xff picture", headers)])
        async with self.member(transport, group, topic) as consumer:
            (record,) = await self.take(consumer, 1)
        assert (record.key, record.value, dict(record.headers)) == (b"lobby", b"\x00\xff picture", headers)
        assert (record.partition, record.offset) == (Partition(topic, 0), 0)
        assert before < record.timestamp < time.time() + 1

    async def test_keys_choose_the_partition_and_keep_their_order(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 4)
        feeds = [f"default/camera-{number}" for number in range(9)]
        for start in range(0, 30, 10):
            await transport.publish(
                [value for feed in feeds for value in values(topic, feed, range(start, start + 10))]
            )
        async with self.member(transport, group, topic) as consumer:
            records = await self.take(consumer, 30 * len(feeds))
        for feed in feeds:
            of_feed = [record for record in records if record.key == feed.encode()]
            assert [number(record) for record in of_feed] == list(range(30))
            assert {record.partition.index for record in of_feed} == {partition_of(feed.encode(), 4)}
        for index in range(4):
            offsets = [record.offset for record in records if record.partition.index == index]
            assert offsets == list(range(len(offsets)))

    async def test_polls_take_turns_between_partitions(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 3)
        for index in range(3):
            await transport.publish(values(topic, key_for(index, 3), range(100)))
        async with self.member(transport, group, topic) as consumer:
            records = await self.take(consumer, 60)
        shares = [sum(record.partition.index == index for record in records) for index in range(3)]
        assert min(shares) >= 10

    async def test_an_empty_poll_ends_with_its_timeout(self, transport: Transport, topic: str, group: str) -> None:
        async with self.member(transport, group, topic) as consumer:
            await self.hold(consumer, 1)
            assert list(await consumer.poll(10, 0.01)) == []

    async def test_a_waiting_poll_returns_another_process_s_records(
        self, transport: Transport, topic: str, group: str, url: str
    ) -> None:
        async with self.member(transport, group, topic) as consumer, self.opened(url) as other:
            await self.hold(consumer, 1)
            waiting = asyncio.create_task(consumer.poll(10, self.deadline_seconds))
            await other.publish(values(topic, "a", [7]))
            assert [number(record) for record in await waiting] == [7]

    async def test_a_record_over_the_topic_s_limit_is_refused(self, transport: Transport) -> None:
        topic = await self.new_topic(transport, 1, max_record_bytes=4096)
        with pytest.raises(TooLarge, match=topic):
            await transport.publish([NewRecord(topic, b"a", bytes(5000))])
        await transport.publish([NewRecord(topic, b"a", bytes(3000))])
        assert await transport.ends(topic) == {Partition(topic, 0): (0, 1)}

    async def test_reading_without_a_group(self, transport: Transport, topic: str, url: str) -> None:
        await transport.publish(values(topic, "a", range(20)))
        async with self.opened(url) as other:
            records = await other.read(Partition(topic, 0), 5, 3)
            assert [(number(record), record.offset, record.epoch) for record in records] == [
                (5, 5, -1),
                (6, 6, -1),
                (7, 7, -1),
            ]
            assert list(await other.read(Partition(topic, 0), 20, 3)) == []
            assert await other.ends(topic) == {Partition(topic, 0): (0, 20)}

    # -- topics ------------------------------------------------------------------------------------------------

    async def test_creating_a_topic_again_is_fine_unless_it_differs(self, transport: Transport, topic: str) -> None:
        await transport.create([TopicSpec(topic, 1)])
        assert (await transport.topics())[topic] == TopicSpec(topic, 1)
        with pytest.raises(PlanError, match=f"{topic}.*partitions") as refused:
            await transport.create([TopicSpec(topic, 3, compacted=True)])
        assert len(refused.value.reasons) == 2

    async def test_settings_of_an_existing_topic_are_applied(self, transport: Transport) -> None:
        name = await self.new_topic(transport, 2, retention_seconds=3600)
        wanted = TopicSpec(name, 2, retention_seconds=7200)
        (difference,) = await transport.differences([wanted])
        assert f"{name}: retention_seconds is 3600.0, wanted 7200" in difference
        assert "`sightline topics apply`" in difference
        assert (await transport.topics())[name].retention_seconds == 3600, "nothing was changed"
        assert len(await transport.apply([wanted])) == 1
        assert (await transport.topics())[name].retention_seconds == 7200
        assert not await transport.differences([wanted])
        with pytest.raises(PlanError, match="partitions is 2, wanted 3"):
            await transport.apply([TopicSpec(name, 3, retention_seconds=3600)])
        assert (await transport.topics())[name].retention_seconds == 7200

    async def test_a_topic_that_does_not_exist_is_named(self, transport: Transport, group: str) -> None:
        with pytest.raises(PlanError, match="no-such-topic"):
            await transport.publish(values("no-such-topic", "a", [1]))
        with pytest.raises(PlanError, match="no-such-topic"):
            await transport.consumer(group, ["no-such-topic"], RecordingListener())

    async def test_a_compacted_topic_keeps_each_key_s_last_value(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 1, compacted=True)
        for step in range(5):
            await transport.publish(values(topic, "a", [step]) + values(topic, "b", [10 + step]))
        await transport.publish([NewRecord(topic, b"b", None, {"why": b"erased"})])
        await self.compact(transport, topic)
        async with self.member(transport, group, topic) as consumer:
            records = await consumer.poll(100, self.deadline_seconds)
        last = {record.key: record for record in records if record.key in (b"a", b"b")}
        assert [record.value for record in records if record.key == b"a"] == [b"4"]
        assert (last[b"b"].value, dict(last[b"b"].headers)) == (None, {"why": b"erased"})

    # -- positions ---------------------------------------------------------------------------------------------

    async def test_a_new_group_starts_at_the_earliest(self, transport: Transport, topic: str, group: str) -> None:
        await transport.publish(values(topic, "a", range(5)))
        async with self.member(transport, group, topic) as consumer:
            assert [number(record) for record in await self.take(consumer, 5)] == list(range(5))
            assert await consumer.committed(Partition(topic, 0)) is None

    async def test_what_was_not_committed_comes_again(self, transport: Transport, topic: str, group: str) -> None:
        partition = Partition(topic, 0)
        await transport.publish(values(topic, "a", range(10)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 10)
            await consumer.commit({partition: Position(4)}, consumer.assignment())
        async with self.member(transport, group, topic) as consumer:
            assert [number(record) for record in await self.take(consumer, 6)] == list(range(4, 10))

    async def test_a_killed_member_s_records_come_again(self, transport: Transport, group: str, url: str) -> None:
        topic = await self.new_topic(transport, 2)
        await transport.publish(values(topic, key_for(0, 2), range(5)) + values(topic, key_for(1, 2), range(5)))
        async with self.process("hold", url, group, topic) as process:
            assert process.stdout is not None
            seen = {tuple(map(int, (await process.stdout.readline()).split())) for _ in range(10)}
            assert len(seen) == 10
        async with self.member(transport, group, topic) as consumer:
            records = await self.take(consumer, 10)
        assert {(record.partition.index, record.offset) for record in records} == seen

    async def test_attempts_travel_with_the_position(
        self, transport: Transport, topic: str, group: str, url: str
    ) -> None:
        partition = Partition(topic, 0)
        await transport.publish(values(topic, "a", range(3)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 3)
            await consumer.commit({partition: Position(2, attempts=2)}, consumer.assignment())
        async with self.opened(url) as other, self.member(other, group, topic) as consumer:
            await self.take(consumer, 1)
            assert await consumer.committed(partition) == Position(2, attempts=2)

    async def test_groups_do_not_see_each_other(self, transport: Transport, topic: str, group: str) -> None:
        partition = Partition(topic, 0)
        await transport.publish(values(topic, "a", range(4)))
        other_group = group + "-2"
        async with (
            self.member(transport, group, topic) as consumer,
            self.member(transport, other_group, topic) as other,
        ):
            await self.take(consumer, 4)
            await consumer.commit({partition: Position(4)}, consumer.assignment())
            assert len(await self.take(other, 4)) == 4
            assert await other.committed(partition) is None

    async def test_lag_is_known_with_and_without_members(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        await transport.publish(values(topic, key_for(0, 2), range(7)) + values(topic, key_for(1, 2), range(2)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 9)
            assert await consumer.lag() == {first: 7, second: 2}
            await consumer.commit({first: Position(5)}, consumer.assignment())
            assert await consumer.lag() == {first: 2, second: 2}
        assert await transport.group_lag(group, [topic]) == {first: 2, second: 2}

    async def test_groups_are_listed_with_what_they_hold_back(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        began = time.time()
        await transport.publish(values(topic, key_for(0, 2), range(3)) + values(topic, key_for(1, 2), range(2)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 5)
            await consumer.commit({first: Position(1), second: Position(2)}, consumer.assignment())
            present = (await transport.groups(group))[group]
            assert present.members == 1
            assert {partition: position.has_member for partition, position in present.positions.items()} == {
                first: True,
                second: True,
            }
        left = (await transport.groups(group))[group]
        assert left.members == 0
        assert {
            partition: (position.next_offset, position.lag, position.has_member)
            for partition, position in left.positions.items()
        } == {first: (1, 2, False), second: (2, 0, False)}
        oldest = left.positions[first].oldest
        assert oldest is not None
        assert abs(oldest - began) < 60
        assert left.positions[second].oldest is None
        assert await transport.groups(group + "-none") == {}

    async def test_a_forgotten_group_is_gone_and_starts_over(
        self, transport: Transport, topic: str, group: str
    ) -> None:
        await transport.publish(values(topic, "a", range(2)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 2)
            await consumer.commit({Partition(topic, 0): Position(2)}, consumer.assignment())
        await transport.forget(group)
        assert group not in await transport.groups(group)
        await transport.forget(group)
        async with self.member(transport, group, topic) as consumer:
            assert len(await self.take(consumer, 2)) == 2

    async def test_a_partition_is_cut(self, transport: Transport, topic: str) -> None:
        partition = Partition(topic, 0)
        await transport.publish(values(topic, "a", range(3)))
        await transport.cut(partition, 2)
        assert [number(record) for record in await transport.read(partition, 0, 10)] == [2]

    async def test_single_records_are_erased_where_the_log_can(self, transport: Transport, topic: str) -> None:
        partition = Partition(topic, 0)
        await transport.publish(values(topic, "a", range(4)))
        stay = await transport.erase(partition, [1, 2])
        left = [number(record) for record in await transport.read(partition, 0, 10)]
        assert left == ([0, 1, 2, 3] if transport.drops_unfinished else [0, 3])
        assert list(stay) == ([1, 2] if transport.drops_unfinished else [])
        assert (await transport.ends(topic))[partition] == (0, 4)

    # -- assignments -------------------------------------------------------------------------------------------

    async def test_members_share_and_the_leaver_drains_first(self, transport: Transport, group: str, url: str) -> None:
        """If the leaving member commits what it has taken, nothing is read twice and nothing is lost."""
        topic = await self.new_topic(transport, 4)
        journal: list[str] = []
        taken: list[Record] = []

        async def drain(partitions: Sequence[Partition]) -> None:
            await asyncio.sleep(0)
            ends = {record.partition: Position(record.offset + 1) for record in taken if record.partition in partitions}
            if ends:
                await first.commit(ends, first.assignment())

        listener, other_listener = (
            RecordingListener(drain, journal=journal, name="first"),
            RecordingListener(journal=journal, name="second"),
        )
        for index in range(4):
            await transport.publish(values(topic, key_for(index, 4), range(10)))
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(self.member(transport, group, topic, listener))
            taken += await self.take(first, 40)
            other = await stack.enter_async_context(self.opened(url))
            second = await stack.enter_async_context(self.member(other, group, topic, other_listener))
            again = await self.poll_until(
                lambda _: len(first.assignment()) == len(second.assignment()) == 2, first, second
            )
            assert again == [[], []]
            assert not first.assignment().keys() & second.assignment().keys()
            assert journal.index("first drained") < journal.index("second assigned")
            for index in range(4):
                await transport.publish(values(topic, key_for(index, 4), range(10, 15)))
            both = await self.poll_until(lambda taken: min(map(len, taken)) >= 10, first, second)
        assert [sorted(number(record) for record in records) for records in both] == [sorted([*range(10, 15)] * 2)] * 2

    async def test_assigned_is_called_before_the_records_of_a_partition_come(
        self, transport: Transport, topic: str, group: str
    ) -> None:
        listener = RecordingListener()
        await transport.publish(values(topic, "a", [1]))
        async with self.member(transport, group, topic, listener) as consumer:
            (record,) = await self.take(consumer, 1)
            assert listener.events == [("assigned", frozenset({record.partition}))]
            assert consumer.assignment() == {record.partition: record.epoch}
            await consumer.close()
            await consumer.close()
        assert listener.events[1:] == [("revoked", frozenset({record.partition}))]

    async def test_a_late_commit_moves_nothing(self, transport: Transport, topic: str, group: str, url: str) -> None:
        """The partition moves to another member and back; the first member's epoch from before is invalid."""
        partition = Partition(topic, 0)
        await transport.publish(values(topic, "a", range(10)))
        first = await transport.consumer(group, [topic], RecordingListener())
        await self.take(first, 10)
        before = dict(first.assignment())
        await first.close()
        async with self.opened(url) as other, self.member(other, group, topic) as second:
            await self.take(second, 10)
            await second.commit({partition: Position(5)}, second.assignment())
            with pytest.raises(Fenced):
                await first.commit({partition: Position(1)}, before)
            assert await second.committed(partition) == Position(5)
        async with self.member(transport, group, topic) as third:
            assert [number(record) for record in await self.take(third, 5)] == list(range(5, 10))
            assert third.assignment()[partition] > before[partition]
            with pytest.raises(Fenced):
                await third.commit({partition: Position(1)}, before)
            assert await third.committed(partition) == Position(5)

    async def test_late_positions_are_left_out_of_a_mixed_commit(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        await transport.publish(values(topic, key_for(0, 2), range(4)) + values(topic, key_for(1, 2), range(4)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 8)
            epochs = dict(consumer.assignment())
            await consumer.commit(
                {first: Position(3), second: Position(3)}, {first: epochs[first], second: epochs[second] - 1}
            )
            assert await consumer.committed(first) == Position(3)
            assert await consumer.committed(second) is None

    async def test_a_gap_is_reported_and_its_partition_is_paused(self, transport: Transport, group: str) -> None:
        topic = await self.new_topic(transport, 2)
        first, second = Partition(topic, 0), Partition(topic, 1)
        keys = {first: key_for(0, 2), second: key_for(1, 2)}
        for key in keys.values():
            await transport.publish(values(topic, key, range(10)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 20)
            await consumer.commit({first: Position(2), second: Position(10)}, consumer.assignment())
        await self.lose(transport, first, 6)
        async with self.member(transport, group, topic) as consumer:
            with pytest.raises(Gap, match=rf"{topic}\[0\].*2.*6"):
                await self.poll_until(lambda _: False, consumer)
            for key in keys.values():
                await transport.publish(values(topic, key, [10]))
            assert [record.partition for record in await self.take(consumer, 1)] == [second]
            assert list(await consumer.poll(10, 0.05)) == []
            assert await consumer.committed(first) == Position(2)

    # -- outputs and positions together ------------------------------------------------------------------------

    async def test_outputs_and_positions_are_written_together(
        self, transport: Transport, topic: str, group: str
    ) -> None:
        """A late one moves no position; where the transport is atomic, it writes no output either."""
        partition, target = Partition(topic, 0), await self.new_topic(transport, 1)
        await transport.publish(values(topic, "a", range(6)))
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 6)
            epochs = dict(consumer.assignment())
            await consumer.publish_and_commit(values(target, "a", range(3)), {partition: Position(3)}, epochs)
            assert await consumer.committed(partition) == Position(3)
        async with self.member(transport, group, topic) as consumer:
            await self.take(consumer, 3)
            with pytest.raises(Fenced):
                await consumer.publish_and_commit(values(target, "a", range(3, 6)), {partition: Position(6)}, epochs)
            assert await consumer.committed(partition) == Position(3)
        written = [number(record) for record in await transport.read(Partition(target, 0), 0, 100)]
        assert written[:3] == [0, 1, 2]
        assert len(written) == 3 or not transport.atomic
