"""What the log drops, and what it never does."""

from __future__ import annotations

from contextlib import closing

import pytest
from structlog.testing import capture_logs

from streams.errors import LogFull, PlanError
from streams.sqlite.log_file import connect
from streams.sqlite.retention import CHUNK_BYTES, CHUNK_RECORDS, Dropped, expire
from streams.sqlite.size_limit import SizeLimit
from streams.sqlite.space import empty_wal, file_bytes, wal_bytes
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, Position, TopicSpec
from tests.contract.transport_suite import RecordingListener, values
from tests.support.sqlite_logs import Logs

DAY = 86_400.0
FRAMES = TopicSpec("frames", 1, retention_seconds=7 * DAY, finished_by=("plan",))
P = Partition("frames", 0)


async def first_offset(transport: SqliteTransport, topic: str = "frames") -> int:
    return (await transport.ends(topic))[Partition(topic, 0)][0]


class TestUnfinished:
    """What a group of the plan has not finished is kept, whether the group was ever there or not."""

    @pytest.mark.parametrize("bound", [{"retention_seconds": 7 * DAY}, {"retention_bytes": 10}])
    async def test_before_the_first_worker(self, logs: Logs, bound: dict[str, float]) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("frames", 1, finished_by=("plan",), **bound)])  # type: ignore[arg-type]
        await transport.publish(values("frames", "a", range(200)))
        logs.wait(8 * DAY)
        await transport.drop_old()
        assert await first_offset(transport) == 0
        consumer = await transport.consumer("plan", ["frames"], RecordingListener())
        assert len(await consumer.poll(500, 5.0)) == 200
        await consumer.commit({P: Position(150)}, consumer.assignment())
        await transport.drop_old()
        assert await first_offset(transport) == 150

    async def test_for_a_segment_that_is_added_later_and_a_group_that_is_renamed(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([FRAMES])
        await transport.publish(values("frames", "a", range(10)))
        consumer = await transport.consumer("plan", ["frames"], RecordingListener())
        await consumer.poll(10, 5.0)
        await consumer.commit({P: Position(10)}, consumer.assignment())
        await transport.create([TopicSpec("frames", 1, retention_seconds=7 * DAY, finished_by=("plan", "renamed"))])
        await transport.publish(values("frames", "a", range(10)))
        logs.wait(8 * DAY)
        await transport.drop_old()
        assert await first_offset(transport) == 0

    async def test_groups_that_are_in_no_plan_until_they_are_forgotten(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("frames", 1, retention_seconds=7 * DAY)])
        await transport.consumer("other", ["frames"], RecordingListener())
        await logs.close()
        transport = await logs.open()
        await transport.publish(values("frames", "a", range(10)))
        logs.wait(8 * DAY)
        await transport.drop_old()
        position = (await transport.groups())["other"].positions[P]
        assert (position.lag, position.oldest, position.held_bytes) == (10, logs.wall.seconds - 8 * DAY, 80)
        assert (await transport.groups())["other"].last_seen == logs.wall.seconds - 8 * DAY
        await transport.forget("other")
        await transport.drop_old()
        assert await first_offset(transport) == 10


class TestFullLog:
    async def test_finished_records_make_room_oldest_first(self, logs: Logs) -> None:
        transport = await logs.open(max_bytes=4_000_000)
        await transport.create([TopicSpec("a", 1, retention_seconds=DAY), TopicSpec("b", 1, retention_seconds=DAY)])
        with capture_logs() as lines:
            for _ in range(60):
                logs.wait(1)
                await transport.publish([NewRecord(topic, b"k", bytes(100_000)) for topic in ("a", "b")])
        starts = [await first_offset(transport, topic) for topic in ("a", "b")]
        assert abs(starts[0] - starts[1]) <= 1
        assert 40 < starts[0] < 50, "what is left fills the log"
        assert logs.path.stat().st_size <= 4_200_000
        assert [line["event"] for line in lines].count("full_log_drops_finished_records") == 1

    async def test_a_small_log_fits_with_its_write_ahead_log_at_any_time(self, logs: Logs) -> None:
        transport = await logs.open(max_bytes=4_000_000)
        await transport.create([TopicSpec("a", 1, retention_seconds=DAY)])
        most = 0
        for _ in range(300):
            logs.wait(0.01)
            await transport.publish([NewRecord("a", b"k", bytes(30_000))])
            most = max(most, file_bytes(logs.path))
        assert 3_000_000 < most <= 4_000_000

    async def test_only_unfinished_records_refuse_and_the_message_names_their_group(self, logs: Logs) -> None:
        transport = await logs.open(max_bytes=2_000_000)
        deletions = TopicSpec("deletions", 1, compacted=True)
        await transport.create([FRAMES, TopicSpec("enriched", 1, retention_seconds=DAY), deletions])
        await transport.publish([NewRecord("enriched", b"k", bytes(100_000)) for _ in range(10)])
        with pytest.raises(LogFull, match=r"group plan has not finished 1\d records of frames.*log_bytes"):  # noqa: PT012
            for _ in range(20):
                await transport.publish([NewRecord("frames", b"k", bytes(100_000))])
        await transport.publish([NewRecord("deletions", b"k", bytes(60_000))])  # takes what a full log has no room for
        assert await first_offset(transport, "enriched") == 10
        assert await first_offset(transport) == 0
        consumer = await transport.consumer("plan", ["frames"], RecordingListener())
        (first, *_) = await consumer.poll(5, 5.0)
        await consumer.commit({P: Position(first.offset + 5)}, consumer.assignment())
        await transport.publish([NewRecord("frames", b"k", bytes(100_000))])

    async def test_a_limit_that_was_lowered_is_applied(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("a", 1)])
        await transport.publish([NewRecord("a", b"k", bytes(100_000)) for _ in range(100)])
        await logs.close()
        transport = await logs.open(max_bytes=2_000_000)
        await transport.drop_old()
        assert 85 <= await first_offset(transport, "a") <= 87
        await logs.close()
        assert logs.path.stat().st_size < 2_600_000

    async def test_large_records_go_in_transactions_that_an_almost_full_disk_has_room_for(self, logs: Logs) -> None:
        """Each writes to the write-ahead log what it drops, and others wait for it."""
        transport = await logs.open()
        large = TopicSpec("a", 1, retention_seconds=DAY, max_record_bytes=2_000_000)
        await transport.create([large])
        for _ in range(6):
            await transport.publish([NewRecord("a", b"k", bytes(1_000_000)) for _ in range(10)])
        with closing(connect(logs.path, busy_seconds=1)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            assert expire(connection, large, 1, logs.wall.seconds + 2 * DAY) == Dropped(17, is_last=False)
            SizeLimit().reserve(connection, 100_000, limit_bytes=1_000_000)  # a lowered limit: the rest goes in steps
            assert connection.execute("SELECT first_offset FROM partitions").fetchone() == (18,)
            connection.execute("ROLLBACK")
        empty_wal(logs.path, 5)
        await transport.cut(Partition("a", 0), 55)
        assert await transport.ends("a") == {Partition("a", 0): (55, 60)}
        assert wal_bytes(logs.path) < 2 * CHUNK_BYTES


class TestErased:
    async def test_a_group_that_comes_after_the_last_records_were_erased_has_nothing_to_wait_for(
        self, logs: Logs
    ) -> None:
        """Its lag ends `work --until-idle`, and lets a camera go on that waits for the plan's groups."""
        transport = await logs.open()
        await transport.create([FRAMES])
        await transport.publish(values("frames", "a", range(10)))
        consumer = await transport.consumer("plan", ["frames"], RecordingListener())
        await consumer.poll(10, 5.0)
        await consumer.commit({P: Position(10)}, consumer.assignment())
        assert await transport.erase(P, range(5, 10)) == []
        late = await transport.consumer("renamed", ["frames"], RecordingListener())
        assert await transport.group_lag("renamed", ["frames"]) == {P: 10}
        assert len(await late.poll(10, 5.0)) == 5
        await late.commit({P: Position(5)}, late.assignment())
        assert await transport.group_lag("renamed", ["frames"]) == await late.lag() == {P: 0}
        assert (await transport.groups())["renamed"].positions[P].lag == 0
        await transport.publish(values("frames", "a", [10]))
        assert [record.offset for record in await late.poll(10, 5.0)] == [10]


class TestClock:
    """A jump of the wall clock drops nothing; a record's own age counts."""

    async def test_a_record_of_a_year_ahead_does_not_keep_the_later_ones(self, logs: Logs) -> None:
        transport = await logs.open(clock_hold_seconds=0)
        await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
        logs.wall.seconds += 365 * DAY
        await transport.publish(values("t", "a", range(40)))
        logs.wall.seconds -= 365 * DAY
        await transport.publish(values("t", "a", range(200)))
        await transport.drop_old()
        assert await first_offset(transport, "t") == 0
        logs.wait(2 * DAY)
        await transport.drop_old()
        assert await first_offset(transport, "t") == 240

    @pytest.mark.parametrize("later", [0, 10])
    async def test_many_records_of_a_year_ahead_go_together(self, logs: Logs, later: int) -> None:
        transport = await logs.open(clock_hold_seconds=0)
        await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
        logs.wall.seconds += 365 * DAY
        await transport.publish(values("t", "a", range(3 * CHUNK_RECORDS + 1)))
        logs.wall.seconds -= 365 * DAY
        await transport.publish(values("t", "a", range(later)))
        await transport.drop_old()
        assert await first_offset(transport, "t") == 0
        logs.wait(2 * DAY)
        await transport.drop_old()
        assert await first_offset(transport, "t") == 3 * CHUNK_RECORDS + 1 + later

    async def test_records_of_a_year_ahead_alone_go_in_their_time(self, logs: Logs) -> None:
        transport = await logs.open(clock_hold_seconds=0)
        await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
        logs.wall.seconds += 365 * DAY
        await transport.publish(values("t", "a", range(40)))
        logs.wall.seconds -= 365 * DAY
        with capture_logs() as lines:
            await transport.drop_old()
            logs.wait(DAY / 2)
            await transport.drop_old()
        assert [line["event"] for line in lines].count("record_from_the_future") == 1
        assert await first_offset(transport, "t") == 0
        logs.wait(DAY)
        await transport.drop_old()
        assert await first_offset(transport, "t") == 40

    async def test_a_jump_is_told_and_drops_nothing_until_the_clock_is_back(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
        await transport.publish(values("t", "a", range(200)))
        await logs.close()
        logs.wall.seconds += 365 * DAY
        with capture_logs() as lines:
            for _ in range(3):  # short processes
                await logs.open()
                await logs.close()
                logs.wait(3600)
        assert [line["jump_seconds"] for line in lines if line["event"] == "clock_jumped"] == [365 * DAY]
        logs.wall.seconds -= 365 * DAY
        transport = await logs.open()
        assert await first_offset(transport, "t") == 0
        logs.wait(DAY)
        await transport.drop_old()
        assert await first_offset(transport, "t") == 200, "the clock is believed again"

    async def test_a_clock_that_runs_evenly_after_a_jump_is_believed(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
        await transport.publish(values("t", "a", range(5)))
        logs.wall.seconds += 30 * DAY
        await transport.drop_old()
        logs.wait(5 * 3600)
        await transport.drop_old()
        assert await first_offset(transport, "t") == 0
        logs.wait(2 * 3600)
        await transport.drop_old()
        assert await first_offset(transport, "t") == 5

    async def test_retention_is_applied_in_processes_that_only_open_and_close(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
        await transport.publish(values("t", "a", range(5)))
        await logs.close()
        logs.wait(2 * DAY)
        await logs.open(retention_every_seconds=1e6)
        await logs.close()
        transport = await logs.open(retention_every_seconds=1e6)
        assert await transport.ends("t") == {Partition("t", 0): (5, 5)}


class TestLimits:
    async def test_changed_limits_are_applied_and_told(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 2, retention_seconds=7 * DAY)])
        await transport.publish(values("t", "a", range(5)))
        logs.wait(2 * DAY)
        wanted = TopicSpec("t", 2, retention_seconds=DAY, retention_bytes=9, finished_by=("g",))
        other = await logs.open()
        with capture_logs() as lines:
            await other.create([wanted])
        assert (await transport.topics())["t"] == wanted
        assert [
            (line["setting"], line["before"], line["now"]) for line in lines if line["event"] == "topic_changed"
        ] == [
            ("retention_seconds", 7 * DAY, DAY),
            ("retention_bytes", None, 9),
        ]

    async def test_the_compaction_of_keys_continues_where_it_was(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("c", 1, compacted=True)])
        for number in range(6):
            await transport.publish(values("c", "a", [number]) + values("c", f"key-{number}", [number]))
            await transport.drop_old()
        records = await transport.read(Partition("c", 0), 0, 100)
        assert [(record.key, record.value) for record in records if record.key == b"a"] == [(b"a", b"5")]
        assert len(records) == 7

    async def test_another_number_of_partitions_is_refused_with_the_way_out(self, logs: Logs) -> None:
        transport = await logs.open()
        await transport.create([TopicSpec("t", 2, retention_seconds=DAY)])
        with pytest.raises(PlanError, match=r"topic t: partitions is 2, wanted 4; .*keep `partitions`.*--data"):
            await transport.create([TopicSpec("t", 4, retention_seconds=2 * DAY), TopicSpec("new", 1)])
        assert await transport.topics() == {"t": TopicSpec("t", 2, retention_seconds=DAY)}
