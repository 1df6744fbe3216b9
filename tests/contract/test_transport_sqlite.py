"""The embedded log against the suite, and what is special to a log in a file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from streams.errors import Fenced, LogFull, PlanError
from streams.sqlite.threads import Writer
from streams.sqlite.transport import LogSettings, SqliteTransport
from streams.transport import NewRecord, Partition, Position, TopicSpec, Transport
from tests.contract.transport_suite import RecordingListener, TransportSuite, key_for, number, values
from tests.support.sqlite_logs import Clock, Logs


class TestSqliteTransport(TransportSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/log.sqlite"

    async def lose(self, transport: Transport, partition: Partition, before: int) -> None:
        assert isinstance(transport, SqliteTransport)
        await transport.cut(partition, before)

    async def compact(self, transport: Transport, topic: str) -> None:
        assert isinstance(transport, SqliteTransport)
        await transport.drop_old()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "log.sqlite"


@pytest.fixture
def wall() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def boot() -> Clock:
    return Clock(1_000.0)


@pytest.fixture
async def logs(path: Path, boot: Clock, wall: Clock) -> AsyncIterator[Logs]:
    logs = Logs(path, boot, wall)
    yield logs
    for transport in logs.opened:
        await transport.close()


class TestLeases:
    """Leases run out by the test's clock."""

    async def test_a_member_whose_lease_ran_out_is_fenced_and_its_listener_called(
        self, logs: Logs, boot: Clock
    ) -> None:
        transport = await logs.open(lease_seconds=10)
        await transport.create([TopicSpec("t", 2)])
        await transport.publish(values("t", key_for(0, 2), range(5)))
        listener, partition = RecordingListener(), Partition("t", 0)
        lost = await transport.consumer("g", ["t"], listener)
        assert len(await lost.poll(10, 5.0)) == 5
        before = dict(lost.assignment())
        boot.seconds += 11
        other = await transport.consumer("g", ["t"], RecordingListener())
        assert len(await other.poll(10, 5.0)) == 5
        assert len(other.assignment()) == 2
        with pytest.raises(Fenced):
            await lost.commit({partition: Position(5)}, before)
        with pytest.raises(Fenced):
            await lost.publish_and_commit(values("t", "a", [9]), {partition: Position(5)}, before)
        assert lost.late_positions == 2
        await lost.keep_alive()
        assert listener.events[1:] == [("revoked", frozenset(before))]

    async def test_a_lease_does_not_run_out_before_its_time(self, logs: Logs, boot: Clock) -> None:
        transport = await logs.open(lease_seconds=10)
        await transport.create([TopicSpec("t", 1)])
        first = await transport.consumer("g", ["t"], RecordingListener())
        await first.keep_alive()
        boot.seconds += 9
        second = await transport.consumer("g", ["t"], RecordingListener())
        await second.keep_alive()
        assert len(first.assignment()) == 1
        assert not second.assignment()

    async def test_a_drain_that_hangs_ends_with_its_deadline(self, logs: Logs) -> None:
        transport = await logs.open(drain_seconds=0.05)
        await transport.create([TopicSpec("t", 2)])

        async def hang(partitions: Sequence[Partition]) -> None:
            await asyncio.Event().wait()

        first = await transport.consumer("g", ["t"], RecordingListener(drain=hang))
        await first.keep_alive()
        second = await transport.consumer("g", ["t"], RecordingListener())
        async with asyncio.timeout(10):
            while len(second.assignment()) != 1:
                await first.keep_alive()
                await second.keep_alive()

    async def test_partitions_not_handed_over_in_time_are_taken(self, logs: Logs, boot: Clock) -> None:
        transport = await logs.open(lease_seconds=1000, drain_seconds=30)
        await transport.create([TopicSpec("t", 2)])
        silent = await transport.consumer("g", ["t"], RecordingListener())
        await silent.keep_alive()
        before = dict(silent.assignment())
        taker = await transport.consumer("g", ["t"], RecordingListener())
        await taker.keep_alive()
        assert not taker.assignment()
        boot.seconds += 31
        third = await transport.consumer("g", ["t"], RecordingListener())
        await taker.keep_alive()
        await third.keep_alive()
        (moved,) = [*taker.assignment(), *third.assignment()]
        with pytest.raises(Fenced):
            await silent.commit({moved: Position(1)}, before)

    async def test_a_clock_of_another_boot_keeps_no_lease(self, logs: Logs, path: Path) -> None:
        transport = await logs.open(lease_seconds=1e9)
        await transport.create([TopicSpec("t", 1)])
        before = await transport.consumer("g", ["t"], RecordingListener())
        await before.keep_alive()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE members SET boot = 'an earlier boot'")
        after = await transport.consumer("g", ["t"], RecordingListener())
        await after.keep_alive()
        assert len(after.assignment()) == 1


class TestRetention:
    async def test_old_records_go_when_every_group_has_finished_them(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, retention_seconds=100)])
        partition = Partition("t", 0)
        slow = await transport.consumer("slow", ["t"], RecordingListener())
        fast = await transport.consumer("fast", ["t"], RecordingListener())
        await transport.publish(values("t", "a", range(10)))
        logs.wait(90)
        await transport.publish(values("t", "a", range(10, 20)))
        logs.wait(20)
        await slow.poll(100, 5.0)
        await fast.poll(100, 5.0)
        await fast.commit({partition: Position(20)}, fast.assignment())
        await transport.drop_old()
        assert await transport.ends("t") == {partition: (0, 20)}
        await slow.commit({partition: Position(7)}, slow.assignment())
        await transport.drop_old()
        assert await transport.ends("t") == {partition: (7, 20)}
        await slow.commit({partition: Position(20)}, slow.assignment())
        await transport.drop_old()
        assert await transport.ends("t") == {partition: (10, 20)}
        assert [number(record) for record in await transport.read(partition, 0, 2)] == [10, 11]

    async def test_bytes_are_bounded_per_partition(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, retention_bytes=10_000)])
        for _ in range(5):
            await transport.publish([NewRecord("t", b"a", bytes(1000)) for _ in range(1000)])
        await transport.drop_old()
        assert await transport.ends("t") == {Partition("t", 0): (4991, 5000)}

    async def test_a_full_log_refuses_until_its_groups_have_finished(self, logs: Logs, path: Path) -> None:
        transport = await logs.open(max_bytes=2_000_000)
        await transport.create([TopicSpec("t", 1, retention_bytes=100_000), TopicSpec("out", 1)])
        partition = Partition("t", 0)
        consumer = await transport.consumer("g", ["t"], RecordingListener())
        published = 0
        with pytest.raises(LogFull):  # noqa: PT012 - the last of many
            while published < 10_000:
                await transport.publish([NewRecord("t", b"a", bytes(10_000)) for _ in range(10)])
                published += 10
        records = await consumer.poll(1000, 5.0)
        assert len(records) == published >= 100
        ends = {partition: Position(records[-1].offset + 1)}
        await consumer.publish_and_commit([NewRecord("out", b"a", bytes(50_000))], ends, consumer.assignment())
        await transport.publish([NewRecord("t", b"a", bytes(10_000)) for _ in range(10)])
        assert path.stat().st_size < 2_500_000

    async def test_a_forgotten_group_keeps_nothing_and_starts_over(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, retention_seconds=10)])
        partition = Partition("t", 0)
        gone = await transport.consumer("gone", ["t"], RecordingListener())
        await gone.keep_alive()
        before = dict(gone.assignment())
        await transport.publish(values("t", "a", range(5)))
        logs.wait(11)
        await transport.forget("gone")
        await transport.drop_old()
        assert await transport.ends("t") == {partition: (5, 5)}
        await transport.publish(values("t", "a", [5]))
        assert [number(record) for record in await gone.poll(10, 5.0)] == [5]
        assert gone.assignment()[partition] > before[partition]

    async def test_a_tombstone_outlives_its_day(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, compacted=True)])
        partition = Partition("t", 0)
        await transport.publish([*values("t", "a", [1]), NewRecord("t", b"a", None), *values("t", "b", [2])])
        await transport.drop_old()
        assert [record.value for record in await transport.read(partition, 0, 10)] == [None, b"2"]
        logs.wait(86_401)
        await transport.drop_old()
        assert [record.value for record in await transport.read(partition, 0, 10)] == [b"2"]

    async def test_only_a_compacted_topic_takes_tombstones(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1)])
        with pytest.raises(PlanError, match="compacted"):
            await transport.publish([NewRecord("t", b"a", None)])


class TestThreads:
    async def test_the_loop_runs_on_while_another_process_writes(self, logs: Logs, path: Path) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            publishing = asyncio.create_task(transport.publish(values("t", "a", [1])))
            async with asyncio.timeout(10):
                for _ in range(1000):
                    await asyncio.sleep(0)
                assert await transport.ends("t") == {Partition("t", 0): (0, 0)}
                assert not publishing.done()
                other.execute("COMMIT")
                await publishing
        assert await transport.ends("t") == {Partition("t", 0): (0, 1)}

    async def test_opening_the_log_waits_while_another_process_closes_it(self, path: Path) -> None:
        transport = SqliteTransport(path)
        await transport.open()
        await transport.create([TopicSpec("t", 1)])
        await transport.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            opening = asyncio.create_task(asyncio.to_thread(Writer, path, threading.Lock()))
            assert (await asyncio.wait({opening}, timeout=0.3))[0] == set()
        await asyncio.to_thread((await opening).close)

    async def test_one_bad_publish_does_not_fail_its_neighbours(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1)])
        wrong = NewRecord("t", b"a", "no bytes")  # type: ignore[arg-type]
        outcomes = await asyncio.gather(
            *(transport.publish([*values("t", "a", [job]), *([wrong] if job == 7 else [])]) for job in range(20)),
            return_exceptions=True,
        )
        assert [job for job, outcome in enumerate(outcomes) if outcome is not None] == [7]
        numbers = [number(record) for record in await transport.read(Partition("t", 0), 0, 100)]
        assert sorted(numbers) == [job for job in range(20) if job != 7]


def test_urls_name_the_file_and_its_settings() -> None:
    assert SqliteTransport.from_url("sqlite:///data/log.sqlite").path == Path("data/log.sqlite")
    transport = SqliteTransport.from_url("sqlite:////var/log%20one.sqlite?max_bytes=5000&lease_seconds=2.5")
    assert transport.path == Path("/var/log one.sqlite")
    assert transport.settings == LogSettings(max_bytes=5000, lease_seconds=2.5)
    for wrong in ("sqlite:///", "sqlite://host/log", "kafka://host", "sqlite:///log?max_size=3"):
        with pytest.raises(ValueError, match=r"sqlite|max_size"):
            SqliteTransport.from_url(wrong)
