"""Every damage of a log is told, with the file's name and the way out: no hang, no traceback, no silent change."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from streams.errors import DamagedLog, Unavailable
from streams.sqlite.backup import PinnedLog
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, Record, TopicSpec
from tests.contract.transport_suite import RecordingListener
from tests.support.small_disk import small_disk
from tests.support.without_rights import run_without_rights

TOPICS = [TopicSpec("t", 2, retention_seconds=1e9, finished_by=("g",)), TopicSpec("c", 1, compacted=True)]
RECORDS = [NewRecord("t", b"%d" % number, b"%d " % number * 400, {"n": b"%d" % number}) for number in range(200)]
SECONDS = 20.0
SIGHTLINE = str(Path(sys.executable).with_name("sightline"))


async def fill(path: Path) -> None:
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create(TOPICS)
    for first in range(0, 200, 10):
        await transport.publish(RECORDS[first : first + 10])
    await transport.publish([NewRecord("c", b"%d" % number, b"v") for number in range(20)])
    await transport.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log: one file."""
    path = tmp_path_factory.mktemp("whole") / "log.sqlite"
    asyncio.run(fill(path))
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log as a killed process leaves it: the write-ahead log and its index are there."""
    path, copy = (tmp_path_factory.mktemp("killed") / name / "log.sqlite" for name in ("running", "copy"))
    path.parent.mkdir()
    copy.parent.mkdir()

    async def copy_while_open() -> None:
        transport = SqliteTransport(path)
        await transport.open()
        await transport.create(TOPICS)
        for first in range(0, 200, 10):
            await transport.publish(RECORDS[first : first + 10])
        for file in path.parent.iterdir():
            shutil.copy(file, copy.parent)
        await transport.close()

    asyncio.run(copy_while_open())
    return copy


def copied(log: Path, to: Path) -> Path:
    shutil.copytree(log.parent, to / "data")
    return to / "data" / log.name


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 0xFF]))


async def every_record(path: Path) -> list[Record]:
    async with asyncio.timeout(SECONDS):
        transport = SqliteTransport(path)
        try:
            await transport.open()
            partitions = [partition for name in await transport.topics() for partition in await transport.ends(name)]
            return [record for partition in sorted(partitions) for record in await transport.read(partition, 0, 1000)]
        finally:
            await transport.close()


class TestFormat:
    @pytest.mark.parametrize("version", [0, 3, 99])
    async def test_a_format_mark_that_no_version_writes(self, whole: Path, tmp_path: Path, version: int) -> None:
        path = copied(whole, tmp_path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(DamagedLog, match=rf"log\.sqlite.*format {version}.*move it"):
            await every_record(path)

    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("table", ["claims", "topics", "members", "records_2"])
    async def test_a_missing_table(self, whole: Path, tmp_path: Path, table: str, version: int) -> None:
        path = copied(whole, tmp_path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(DamagedLog, match=r"log\.sqlite.*move it"):
            await every_record(path)

    async def test_a_table_that_goes_while_the_log_is_open(self, whole: Path, tmp_path: Path) -> None:
        path = copied(whole, tmp_path)
        transport = SqliteTransport(path)
        await transport.open()
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            connection.execute("DROP TABLE records_1")
        with pytest.raises(DamagedLog, match=r"part of the log is missing.*records_1"):
            await transport.read(Partition("t", 0), 0, 1)
        await transport.close()


class TestRecords:
    async def test_a_flipped_byte_inside_a_record_is_found_when_it_is_read(self, whole: Path, tmp_path: Path) -> None:
        path = copied(whole, tmp_path)
        flip(path, path.read_bytes().index(b"77 77 77 ") + 4)
        with pytest.raises(DamagedLog, match=r"log\.sqlite: t\[[01]\] offset \d+: its bytes were changed.*restore"):
            await every_record(path)
        transport = SqliteTransport(path)
        await transport.open()
        consumer = await transport.consumer("g", ["t"], RecordingListener())
        with pytest.raises(DamagedLog, match=r"log\.sqlite: t\[[01]\] offset \d+"):  # noqa: PT012 - the first or second
            while True:
                await consumer.poll(1000, 5.0)
        await transport.close()

    def test_a_damaged_log_does_not_take_the_place_of_a_good_backup(self, whole: Path, tmp_path: Path) -> None:
        path = copied(whole, tmp_path)
        PinnedLog(path).copy(tmp_path / "copy.sqlite")
        flip(path, path.read_bytes().index(b"77 77 77 ") + 4)
        with pytest.raises(DamagedLog, match=r"log\.sqlite: t\[[01]\] offset \d+: its bytes were changed.*restore"):
            PinnedLog(path).copy(tmp_path / "copy.sqlite")

    def test_a_backup_to_a_full_disk_names_that_disk(self, whole: Path, tmp_path: Path) -> None:
        with (
            small_disk(tmp_path, "64k") as disk,
            pytest.raises(OSError, match=r"No space left.*disk/copy\.sqlite"),
        ):
            PinnedLog(copied(whole, tmp_path)).copy(disk / "copy.sqlite")

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE partitions SET next_offset = next_offset + 5 WHERE id = 1",
            "UPDATE partitions SET first_offset = 3 WHERE id = 1",
            "DELETE FROM records_1 WHERE record_offset = 0",
            "DELETE FROM records_1 WHERE record_offset > 90",
            "INSERT INTO groups VALUES (1, 'g', 0, 0)",
        ],
    )
    async def test_offsets_that_do_not_agree(self, whole: Path, tmp_path: Path, change: str) -> None:
        path = copied(whole, tmp_path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(change)
            connection.execute("INSERT INTO claims (group_id, partition_id, next_offset) SELECT id, 1, 900 FROM groups")
        with pytest.raises(DamagedLog, match=r"log\.sqlite.*t\[0\]"):
            await every_record(path)


class TestFiles:
    async def test_half_of_the_log(self, whole: Path, tmp_path: Path) -> None:
        path = copied(whole, tmp_path)
        cut_in_half(path)
        with pytest.raises(DamagedLog, match=r"log\.sqlite.*cut off"):
            await every_record(path)

    @pytest.mark.parametrize("part", range(5))
    async def test_a_flipped_byte_in_the_log(self, whole: Path, tmp_path: Path, part: int) -> None:
        """In five places that hold something: what they hold is damaged, or what is read is as it was written."""
        path, before = copied(whole, tmp_path), await every_record(copied(whole, tmp_path / "before"))
        content = path.read_bytes()
        position = next(at for at in range(part * len(content) // 5 + 100, len(content)) if content[at] > 1)
        flip(path, position)
        try:
            assert await every_record(path) == before
        except DamagedLog as error:
            assert str(path) in str(error)  # noqa: PT017 - one of two right outcomes

    @pytest.mark.parametrize("has_index", [True, False])
    @pytest.mark.parametrize("part", range(5))
    async def test_a_flipped_byte_in_the_write_ahead_log(
        self, killed: Path, tmp_path: Path, part: int, *, has_index: bool
    ) -> None:
        path = copied(killed, tmp_path)
        wal = path.with_name("log.sqlite-wal")
        if not has_index:
            path.with_name("log.sqlite-shm").unlink()
        flip(wal, part * wal.stat().st_size // 5 + 20)
        with pytest.raises(DamagedLog, match=r"log\.sqlite: log\.sqlite-wal is .*move it"):
            await every_record(path)

    async def test_half_of_the_write_ahead_log(self, killed: Path, tmp_path: Path) -> None:
        path = copied(killed, tmp_path)
        wal = path.with_name("log.sqlite-wal")
        cut_in_half(wal)
        before = [path.read_bytes(), wal.read_bytes()]
        for _ in range(2):  # told each time: nothing was changed
            with pytest.raises(DamagedLog, match=r"log\.sqlite-wal is cut off"):
                await every_record(path)
            assert [path.read_bytes(), wal.read_bytes()] == before

    async def test_a_killed_log_is_read_whole(self, killed: Path, tmp_path: Path) -> None:
        assert len(await every_record(copied(killed, tmp_path))) == 200


async def test_a_read_only_log_is_read_and_not_written(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A superuser may write everywhere: the answer of the operating system stands in for a disk mounted read-only."""
    path = copied(whole, tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr("os.access", lambda _, mode: mode != 2)
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create(TOPICS)
    assert len(await transport.read(Partition("c", 0), 0, 1000)) == 20
    with pytest.raises(Unavailable, match="cannot be written"):
        await transport.publish(RECORDS[:1])
    await transport.close()
    assert [file.name for file in path.parent.iterdir()] == ["log.sqlite"]
    assert path.read_bytes() == before


async def test_commands_read_a_folder_that_may_not_be_written(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        described = await asyncio.to_thread(
            run_without_rights, SIGHTLINE, "topics", "describe", "--data", "data", cwd=tmp_path
        )
    finally:
        path.parent.chmod(0o755)
    assert (described.returncode, "frames.raw" in described.stdout) == (0, True), described.stderr
    assert [file.name for file in path.parent.iterdir()] == ["log.sqlite"]
