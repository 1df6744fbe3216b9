"""The records of a damaged log that can be read are saved, and the others are counted."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from streams.errors import DamagedLog
from streams.sqlite.salvage import SavedTopic, salvage
from streams.sqlite.schema import PAGE_BYTES
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, Position, Record, TopicSpec
from tests.contract.transport_suite import RecordingListener

COUNT = 160
TOPICS = [TopicSpec("t", 2, retention_seconds=1e9, finished_by=("g",)), TopicSpec("c", 1, compacted=True)]
RECORDS = [NewRecord("t", b"%d" % number, b"%d " % number * 400, {"n": b"%d" % number}) for number in range(COUNT)]


async def fill(path: Path) -> None:
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create(TOPICS)
    for first in range(0, COUNT, 10):
        await transport.publish(RECORDS[first : first + 10])
    await transport.publish([NewRecord("c", b"%d" % number, b"v") for number in range(20)])
    consumer = await transport.consumer("g", ["t"], RecordingListener())
    last = (await consumer.poll(40, 5.0))[-1]
    await consumer.commit({last.partition: Position(last.offset + 1)}, consumer.assignment())
    await transport.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "log.sqlite"
    asyncio.run(fill(path))
    return path.read_bytes()


async def contents(path: Path) -> tuple[list[Record], Mapping[Partition, int]]:
    """Every record, and what the group has not finished."""
    transport = SqliteTransport(path)
    try:
        await transport.open()
        partitions = [partition for name in ("c", "t") for partition in sorted(await transport.ends(name))]
        records = [record for partition in partitions for record in await transport.read(partition, 0, COUNT)]
        return records, await transport.group_lag("g", ["t"])
    finally:
        await transport.close()


def by_name(topics: Sequence[SavedTopic]) -> dict[str, tuple[int, int]]:
    return {topic.name: (topic.saved, topic.lost) for topic in topics}


async def test_a_whole_log_is_saved_as_it_was(whole: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "log.sqlite").write_bytes(whole)
    assert by_name(salvage(path, tmp_path / "saved")) == {"c": (20, 0), "t": (COUNT, 0)}
    assert path.read_bytes() == whole
    assert await contents(tmp_path / "saved") == await contents(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log.sqlite", "saved"]


async def test_any_page_may_be_lost(whole: bytes, tmp_path: Path) -> None:
    """What is saved is as it was written, at its offset; the rest is counted."""
    (path := tmp_path / "log.sqlite").write_bytes(whole)
    before = {(record.partition, record.offset): record.value for record in (await contents(path))[0]}
    unreadable, losses = 0, 0
    for start in range(0, len(whole), PAGE_BYTES):
        path.write_bytes(whole[:start] + bytes(PAGE_BYTES) + whole[start + PAGE_BYTES :])
        try:
            counts = by_name(salvage(path, tmp_path / "saved"))
        except DamagedLog as error:
            assert str(path) in str(error)  # noqa: PT017 - the list of topics was on the page
            unreadable += 1
            continue
        saved, _ = await contents(tmp_path / "saved")
        assert [before[record.partition, record.offset] for record in saved] == [record.value for record in saved]
        assert sum(counts["t"]) == COUNT
        assert len(saved) == counts["t"][0] + counts["c"][0]
        losses += counts["t"][1] > 0
    assert unreadable <= 6
    assert losses > COUNT * 1000 / PAGE_BYTES / 2


async def test_half_of_a_log(whole: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "log.sqlite").write_bytes(whole[: len(whole) // 2])
    saved, lost = by_name(salvage(path, tmp_path / "saved"))["t"]
    assert saved > COUNT / 5
    assert saved + lost == COUNT
    transport = SqliteTransport(tmp_path / "saved")
    await transport.open()
    ends = await transport.ends("t")
    await transport.publish(RECORDS[:10])
    assert sum(end for _, end in ends.values()) == COUNT, "no offset is given twice"
    assert sum(end for _, end in (await transport.ends("t")).values()) == COUNT + 10
    consumer = await transport.consumer("late", ["t"], RecordingListener())
    polled: list[Record] = []
    while len(polled) < saved + 10:
        polled += await consumer.poll(1000, 5.0)
    await transport.close()


async def test_a_flipped_byte_costs_one_record(whole: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "log.sqlite").write_bytes(whole.replace(b"77 77 77 ", b"77 76 77 ", 1))
    assert by_name(salvage(path, tmp_path / "saved"))["t"] == (COUNT - 1, 1)
    assert b"77" not in {record.key for record in (await contents(tmp_path / "saved"))[0]}


@pytest.mark.parametrize("change", ["UPDATE claims SET next_offset = 1000000", "DROP TABLE claims"])
async def test_a_position_that_is_lost_starts_at_the_first_record(whole: bytes, tmp_path: Path, change: str) -> None:
    (path := tmp_path / "log.sqlite").write_bytes(whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(change)
    salvage(path, tmp_path / "saved")
    records, lag = await contents(tmp_path / "saved")
    assert (len(records), sum(lag.values())) == (COUNT + 20, COUNT)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "log.sqlite").write_bytes(os.urandom(1 << 16))
    with pytest.raises(DamagedLog, match=r"log\.sqlite"):
        salvage(path, tmp_path / "saved")
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE topics (id)")
    with pytest.raises(DamagedLog, match="not a Sightline log"):
        salvage(tmp_path / "other.sqlite", tmp_path / "saved")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log.sqlite", "other.sqlite"]
