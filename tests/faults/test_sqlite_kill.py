"""Processes killed with SIGKILL while they write to the log: acknowledged records are in it, once and in order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, TopicSpec
from tests.contract.transport_member import Silent

ROUNDS = 60 if os.environ.get("LONG") == "1" else 6
TOPICS = [TopicSpec("in", 1), TopicSpec("out", 1)]
SOURCE, TARGET = Partition("in", 0), Partition("out", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteTransport]:
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create(TOPICS)
    try:
        yield transport
    finally:
        await transport.close()


async def start(*arguments: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.transport_member", *arguments, stdout=PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    return process


async def lines_until_killed(process: Process, count: int) -> list[int]:
    """Kill the process after `count` lines; all of its output."""
    assert process.stdout is not None
    lines = [int(await process.stdout.readline()) for _ in range(count)]
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return lines + [int(line) for line in rest if line.endswith(b"\n")]


async def holds(transport: SqliteTransport, topic: str, count: int) -> None:
    """Wait until the topic holds `count` records, as a group of its own."""
    consumer = await transport.consumer(f"watches-{count}", [topic], Silent())
    async with asyncio.timeout(30):
        while count > 0:
            count -= len(await consumer.poll(1_000, 5.0))
    await consumer.close()


async def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    """Each round's process is killed in the middle of its publishing."""
    async with opened(path):
        pass
    chance, acknowledged = random.Random(5), {}
    for number in range(ROUNDS):
        process = await start("produce", f"sqlite:///{path}", "in", f"round-{number}", "1000000")
        acknowledged[f"round-{number}".encode()] = await lines_until_killed(process, chance.randint(1, 300))
    async with opened(path) as transport:
        (ends,) = (await transport.ends("in")).values()
        records = await transport.read(SOURCE, 0, 1_000_000)
    assert [record.offset for record in records] == list(range(*ends))
    for name, numbers in acknowledged.items():
        written = [int(record.value or b"") for record in records if record.key == name]
        assert not set(numbers) - set(written)
        assert len(set(written)) == len(written)
        assert len(written) % 7 == 0
        batches = [written[first : first + 7] for first in range(0, len(written), 7)]
        assert all(batch == list(range(batch[0], batch[0] + 7)) for batch in batches)


async def test_a_kill_never_separates_outputs_from_positions(path: Path) -> None:
    """A process copies a topic and is killed again and again: the copy has every record, once, in order."""
    async with opened(path) as transport:
        await transport.publish([NewRecord("in", b"k", b"%d" % number) for number in range(10_000)])
    chance = random.Random(7)
    for _ in range(ROUNDS):
        process = await start("copy", f"sqlite:///{path}", "group", "in", "out")
        await lines_until_killed(process, chance.randint(1, 40))
        async with opened(path) as transport:
            copies = await transport.read(TARGET, 0, 100_000)
            left = await transport.group_lag("group", ["in"])
        assert [int(record.value or b"") for record in copies] == list(range(10_000 - left[SOURCE]))
    assert copies


async def test_several_processes_publish_and_copy_at_once(path: Path) -> None:
    """Three producers and two copiers on one file, one copier killed: the copy has every record once."""
    async with opened(path) as transport:
        url, each = f"sqlite:///{path}", 420
        await transport.create([TopicSpec("many", 4), TopicSpec("copies", 4)])
        producers = [await start("produce", url, "many", f"producer-{number}", str(each)) for number in range(3)]
        copiers = [await start("copy", url, "group", "many", "copies") for _ in range(2)]
        try:
            await lines_until_killed(copiers[0], 3)
            for producer in producers:
                await producer.communicate()
                assert producer.returncode == 0
            await holds(transport, "copies", 3 * each)
        finally:
            for process in [*producers, *copiers]:
                if process.returncode is None:
                    process.kill()
                await process.communicate()
        copies = [
            record for index in range(4) for record in await transport.read(Partition("copies", index), 0, 10_000)
        ]
    counted = Counter((record.key, int(record.value or b"")) for record in copies)
    assert counted == Counter((b"producer-%d" % name, number) for name in range(3) for number in range(each))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_stopped_member_loses_its_lease_and_is_fenced_when_it_wakes(path: Path) -> None:
    """SIGSTOP past the lease, then SIGCONT: the others go on, and the stopped one writes nothing for what it lost."""
    async with opened(path) as transport:
        await transport.publish([NewRecord("in", b"k", b"%d" % number) for number in range(2_000)])
        url = f"sqlite:///{path}?lease_seconds=0.6"
        stopped = await start("copy", url, "group", "in", "out")
        copiers = [stopped]
        try:
            assert stopped.stdout is not None
            await stopped.stdout.readline()
            await stop_between_writes(stopped, path)
            copiers.append(await start("copy", url, "group", "in", "out"))
            await holds(transport, "out", 2_000)
            stopped.send_signal(signal.SIGCONT)
            await transport.publish([NewRecord("in", b"k", b"%d" % number) for number in range(2_000, 4_000)])
            await holds(transport, "out", 4_000)
        finally:
            for process in copiers:
                if process.returncode is None:
                    process.kill()
                await process.communicate()
        copies = await transport.read(TARGET, 0, 100_000)
    assert [int(record.value or b"") for record in copies] == list(range(4_000))


async def stop_between_writes(process: Process, path: Path) -> None:
    """Stop a process while it holds no lock on the file: a lock of a stopped process blocks all others."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        while True:
            process.send_signal(signal.SIGSTOP)
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                assert process.stdout is not None
                await process.stdout.readline()
            else:
                return
