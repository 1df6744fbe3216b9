"""Files that are not a complete Sightline log: the error names each, none is reset, no byte is changed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from streams.errors import DamagedLog
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, TopicSpec


async def fill(path: Path) -> None:
    """A log with some pages of records, closed and checkpointed."""
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create([TopicSpec("t", 2)])
    await transport.publish([NewRecord("t", b"%d" % number, bytes(1000)) for number in range(200)])
    await transport.close()


def overwrite(path: Path, position: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def overwrite_pages(path: Path) -> None:
    overwrite(path, 3 * 8192, bytes(range(256)) * 64)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("feeds = ['lobby']\n" * 1000)


def foreign_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photographs (name TEXT)")


def newer_format(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def damaged_wal(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(bytes(range(256)) * 100)


def missing_log(path: Path) -> None:
    path.rename(path.with_name(path.name + "-wal"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_in_half, "cut off"),
        (overwrite_pages, "damaged"),
        (empty, "empty"),
        (text, "not a Sightline log"),
        (foreign_database, "not a Sightline log"),
        (newer_format, "format 99, newer"),
        (damaged_wal, "not a write-ahead log"),
        (missing_log, "gone"),
    ],
)
async def test_a_file_that_is_not_a_complete_log_is_refused_and_not_changed(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.sqlite"
    await fill(path)
    damage(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(DamagedLog, match=message) as refused:
        await SqliteTransport(path).open()
    assert str(path) in str(refused.value)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    assert after == {name: content for name, content in before.items() if not name.endswith("-shm")}


async def test_damage_beyond_the_check_at_open_is_reported_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    await fill(path)
    transport = SqliteTransport(path)
    await transport.open()
    overwrite(path, 8 * 8192, b"\xff" * (path.stat().st_size - 8 * 8192))
    with pytest.raises(DamagedLog, match=r"log\.sqlite"):
        await asyncio.gather(*(transport.read(Partition("t", index), 0, 1000) for index in range(2)))
    await transport.close()


async def test_a_torn_write_at_the_end_of_the_wal_costs_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    """The tail of the write-ahead log is cut inside the last, unfinished transaction, as a power cut does."""
    path, copy = tmp_path / "log.sqlite", tmp_path / "copy.sqlite"
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create([TopicSpec("t", 1)])
    await transport.publish([NewRecord("t", b"k", b"%d" % number) for number in range(50)])
    wal = path.with_name(path.name + "-wal").read_bytes()
    copy.write_bytes(path.read_bytes())
    await transport.publish([NewRecord("t", b"k", bytes(1000)) for _ in range(50)])
    later = path.with_name(path.name + "-wal").read_bytes()
    await transport.close()
    torn = later[: len(wal) + (len(later) - len(wal)) // 2]
    copy.with_name(copy.name + "-wal").write_bytes(torn)
    survivor = SqliteTransport(copy)
    await survivor.open()
    records = await survivor.read(Partition("t", 0), 0, 1000)
    await survivor.close()
    assert [record.value for record in records] == [b"%d" % number for number in range(50)]
