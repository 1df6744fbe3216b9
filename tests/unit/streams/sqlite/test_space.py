"""Dropped records leave no bytes behind, and their space comes back."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from streams.errors import LogFull, Unavailable
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, Record, TopicSpec
from tests.contract.transport_suite import RecordingListener, values
from tests.support.small_disk import small_disk
from tests.support.sqlite_logs import Clock, Logs

DAY = 86_400.0
ARCHIVE = Path(__file__).parents[3] / "whole" / "data" / "data-0.1.0.tar.xz"
"""A folder of version 0.1.0, whose log has format 1."""


def holds(path: Path, content: bytes) -> list[str]:
    return [file.name for file in path.parent.iterdir() if content in file.read_bytes()]


async def test_no_byte_of_a_dropped_record_stays_on_the_disk(logs: Logs) -> None:
    """Neither where the file keeps its pages nor in the write-ahead log, while the log goes on."""
    transport = await logs.open()
    await transport.create([TopicSpec("t", 1, retention_seconds=DAY), TopicSpec("c", 1, compacted=True)])
    secrets = [b"SECRET-LONG" * 3_000, b"SECRET-SHORT"]
    for secret in secrets:
        await transport.publish([NewRecord("t", b"a", secret), NewRecord("c", b"key", secret)])
    await transport.publish([NewRecord("c", b"key", b"later")])
    logs.wait(2 * DAY)
    await transport.publish(values("t", "a", range(5)))
    await transport.drop_old()
    assert await transport.ends("t") == {Partition("t", 0): (2, 7)}
    await logs.close()
    assert [name for secret in (b"SECRET-LONG", b"SECRET-SHORT") for name in holds(logs.path, secret)] == []


async def test_the_write_ahead_log_is_emptied_while_the_log_is_open(logs: Logs) -> None:
    transport = await logs.open()
    await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
    await transport.publish([NewRecord("t", b"a", bytes(100_000))])
    logs.wait(2 * DAY)
    await transport.drop_old()
    assert logs.path.with_name("log.sqlite-wal").stat().st_size == 0


async def test_free_space_goes_back_to_the_disk(logs: Logs) -> None:
    transport = await logs.open()
    await transport.create([TopicSpec("t", 1, retention_seconds=DAY)])
    await transport.publish([NewRecord("t", b"a", bytes(100_000)) for _ in range(100)])
    assert logs.path.with_name("log.sqlite-wal").stat().st_size > 10_000_000
    logs.wait(2 * DAY)
    await transport.drop_old()
    assert logs.path.stat().st_size < 1_000_000
    await transport.publish([NewRecord("t", b"a", bytes(100_000)) for _ in range(5)])
    assert len(await transport.read(Partition("t", 0), 0, 10)) == 5


@pytest.fixture
async def old_log(logs: Logs) -> Logs:
    with tarfile.open(ARCHIVE) as archive:
        content = archive.extractfile("data/log.sqlite")
        assert content is not None
        logs.path.write_bytes(content.read())
    return logs


async def test_a_log_of_format_1_is_migrated_and_compacted_while_others_use_it(old_log: Logs) -> None:
    logs = old_log
    other, transport = await logs.open(), await logs.open()
    before = await every_record(transport)
    assert len(before) > 50
    with closing(sqlite3.connect(logs.path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    await other.cut(Partition("frames.enriched", 0), 1_000)
    assert (await transport.compact())[1] <= logs.path.stat().st_size
    kept = [record for record in before if record.partition != Partition("frames.enriched", 0)]
    assert await every_record(other) == kept
    await other.publish([NewRecord("deletions", b"k", b"v")])
    await transport.publish([NewRecord("deletions", b"k", b"w")])
    with closing(sqlite3.connect(logs.path)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)


async def every_record(transport: SqliteTransport) -> list[Record]:
    partitions = [partition for name in await transport.topics() for partition in await transport.ends(name)]
    return [record for partition in sorted(partitions) for record in await transport.read(partition, 0, 1_000)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, "4m") as disk:
        yield disk


async def test_a_full_disk_is_waited_for_by_members_and_hinders_no_opening(disk: Path) -> None:
    logs = Logs(disk / "log.sqlite", Clock(1_000.0), Clock(1_800_000_000.0))
    transport = await logs.open()
    await transport.create([TopicSpec("t", 1)])
    await transport.publish(values("t", "a", range(10)))
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with pytest.raises(LogFull, match=r"log\.sqlite: the disk is full"):
        await transport.publish([NewRecord("t", b"a", bytes(900_000))])
    with suppress(LogFull):  # the write-ahead log's file has room for small ones
        while True:
            await transport.publish(values("t", "a", [11]))
    logs.wait(3600)  # so that the clock would be noted
    late = await logs.open()
    with pytest.raises(Unavailable, match="the disk is full"):
        await late.consumer("g", ["t"], RecordingListener())
    (disk / "filler").unlink()
    consumer = await late.consumer("g", ["t"], RecordingListener())
    assert len(await consumer.poll(10, 5.0)) == 10
    await logs.close()
