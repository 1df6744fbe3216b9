"""The index process killed, started twice, left without clients, sent invalid bytes: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pytest
import qdrant_edge

from stores.edge import catalog, wire
from stores.edge.address import socket_path
from stores.edge.client import EdgeIndex
from stores.edge.index_process import elect
from stores.edge.process_files import LARGEST_LOG_BYTES, LOCK, LOG
from stores.edge.rebuild_order import Order
from stores.edge.settings import EdgeSettings
from stores.errors import Damaged, StoreError, StoreUnavailable, WrongLayout
from stores.index import CollectionSpec, Filter, Match, Point
from tests.support.edge_folder import edge_folder, end, process_id, until

KILLS = 100 if os.environ.get("LONG") == "1" else 8
SIZE = 8
SPEC = CollectionSpec(name="frames-a", vectors={"semantic": SIZE}, payload={"feed": "keyword", "turn": "integer"})
PROMPT = EdgeSettings(idle_seconds=0.2, optimize_points=300, quiet_points_per_second=1e9)
"""Ends soon, and optimizes small collections while they are written."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with edge_folder(tmp_path / "index") as folder:
        yield folder


@pytest.fixture
async def index(folder: Path) -> AsyncIterator[EdgeIndex]:
    index = EdgeIndex(folder)
    await index.ensure(SPEC, "frames")
    yield index
    await index.close()


def points(numbers: range, turn: int = 0) -> list[Point]:
    vectors = np.random.default_rng(turn).standard_normal((len(numbers), SIZE)).astype(np.float32)
    return [
        Point(
            id=str(UUID(int=number)), vectors={"semantic": vector}, payload={"feed": f"feed{number % 4}", "turn": turn}
        )
        for number, vector in zip(numbers, vectors, strict=True)
    ]


def feed(number: int) -> Filter:
    return Filter(must=(Match(field="feed", any_of=(f"feed{number}",)),))


async def turns(index: EdgeIndex) -> dict[int, int]:
    """The turn in which each point was last written, by the point's number."""
    by_number: dict[int, int] = {}
    after: str | None = None
    while True:
        hits, after = await index.scroll("frames", limit=500, after=after)
        by_number |= {UUID(hit.id).int: hit.payload["turn"] for hit in hits}
        if after is None:
            return by_number


def runs(folder: Path) -> bool:
    lock = elect(folder)
    if lock is not None:
        os.close(lock)
    return lock is None


async def test_kill_9_while_writing_loses_nothing_acknowledged(folder: Path, index: EdgeIndex) -> None:
    """Four writers overwrite and delete their own feeds' points; the process is killed again and again."""
    answered, stop = 0, False
    expected: dict[int, int] = {}

    async def write(writer: int) -> None:
        nonlocal answered
        turn = 0
        while not stop:
            turn += 1
            mine = range(writer, 800, 4)
            await index.upsert("frames", points(mine, turn)[: 50 + turn % 150])
            expected.update(dict.fromkeys(list(mine)[: 50 + turn % 150], turn))
            if turn % 5 == 0:
                await index.delete("frames", feed(writer))
                for number in mine:
                    expected.pop(number, None)
            answered += 1

    async with asyncio.TaskGroup() as group:
        for writer in range(4):
            group.create_task(write(writer))
        for _ in range(KILLS):
            wanted = answered + random.randint(1, 12)
            await until(lambda wanted=wanted: answered >= wanted)  # type: ignore[misc]
            end(folder)
        stop = True
    assert await turns(index) == expected


async def test_pipelined_writes_keep_their_order_over_a_kill(folder: Path, index: EdgeIndex) -> None:
    """A repeated older write must not overwrite a newer one."""
    writes = [asyncio.create_task(index.upsert("frames", points(range(5), turn))) for turn in range(1, 201)]
    for killed_after in (20, 90, 150):
        await until(lambda after=killed_after: writes[after].done())  # type: ignore[misc]
        end(folder)
    await asyncio.gather(*writes)
    assert await turns(index) == dict.fromkeys(range(5), 200)


async def test_optimization_during_writes_loses_nothing(folder: Path) -> None:
    """Shards are exchanged repeatedly during overwrites and deletes, and the process is killed meanwhile."""
    index = EdgeIndex(folder, PROMPT)
    await index.ensure(SPEC, "frames")
    expected: dict[int, int] = {}
    first = shard_of(folder)
    for turn in range(1, 3):
        seen = shard_of(folder)
        part = 0
        while shard_of(folder) == seen:
            part += 1
            numbers = range(part % 8 * 100, part % 8 * 100 + 100)
            await index.upsert("frames", points(numbers, part))
            expected.update(dict.fromkeys(numbers, part))
            if part % 7 == turn:
                await index.delete("frames", feed(turn))
                expected = {number: written for number, written in expected.items() if number % 4 != turn}
            if part == 10 * turn:
                end(folder)
        assert await turns(index) == expected
    await index.close()
    await until(lambda: not runs(folder))
    assert shard_of(folder) != first
    assert [path.name for path in folder.glob("shard-*") if path.is_dir()] == [shard_of(folder)]


async def test_killed_during_an_optimization(folder: Path) -> None:
    index = EdgeIndex(folder, PROMPT)
    await index.ensure(SPEC, "frames")
    for _ in range(2):
        await index.upsert("frames", points(range(400), 1))
        await until(lambda: sum(path.is_dir() for path in folder.glob("shard-*")) > 1)
        end(folder)
        assert await turns(index) == dict.fromkeys(range(400), 1)
    await index.close()


async def test_a_rebuild_whose_process_was_killed_before_it_ran_writes_nothing(folder: Path) -> None:
    """It would copy the points of the next index process to a shard that no process removes."""
    index = EdgeIndex(folder, PROMPT)
    await index.ensure(SPEC, "frames")
    killed = await asyncio.create_subprocess_exec("true")
    await killed.wait()
    target = folder / "shard-000002"
    order = Order(SPEC, str(target), killed.pid, str(folder))
    program = (sys.executable, "-m", "stores.edge.rebuild_shard", msgspec.json.encode(order).decode())
    assert await (await asyncio.create_subprocess_exec(*program)).wait() == 0
    assert not target.exists()
    await index.close()


def shard_of(folder: Path) -> str:
    return catalog.load(folder).collections[SPEC.name].shard


async def test_clients_that_start_at_once_elect_one_process(folder: Path) -> None:
    clients = [EdgeIndex(folder) for _ in range(4)]
    await asyncio.gather(*(client.ensure(SPEC, "frames") for client in clients))
    elected = process_id(folder)
    for number, client in enumerate(clients):
        await client.upsert("frames", points(range(number, number + 1)))
    assert [await client.count("frames") for client in clients] == [4] * 4
    second = await asyncio.create_subprocess_exec(sys.executable, "-m", "stores.edge.index_process", str(folder))
    assert await second.wait() == 0
    assert process_id(folder) == elected
    with pytest.raises(Exception, match="WAL"):
        qdrant_edge.EdgeShard.load(str(folder / shard_of(folder)))
    for client in clients:
        await client.close()


async def test_a_killed_process_leaves_a_socket_and_the_next_client_connects(folder: Path, index: EdgeIndex) -> None:
    await index.upsert("frames", points(range(10)))
    end(folder)
    assert (folder / wire.SOCKET).is_socket()
    other = EdgeIndex(folder)
    assert await other.count("frames") == await index.count("frames") == 10
    await other.close()


async def test_sigterm_flushes_and_clients_reconnect(folder: Path, index: EdgeIndex) -> None:
    await index.upsert("frames", points(range(10)))
    end(folder, signal.SIGTERM)
    assert not (folder / wire.SOCKET).exists()
    assert await index.count("frames") == 10


async def test_a_killed_client_does_not_affect_others(folder: Path, index: EdgeIndex) -> None:
    program = "tests.contract.index_writer"
    other = await asyncio.create_subprocess_exec(sys.executable, "-m", program, f"edge:{folder}", "100", "1000000")
    elected = process_id(folder)

    async def half_way() -> bool:
        return await index.count("frames") >= 200

    await until(half_way)
    other.kill()
    await other.wait()
    await index.upsert("frames", points(range(10)))
    assert await index.count("frames", feed(1)) == 3
    assert process_id(folder) == elected


def test_a_new_process_is_not_mistaken_for_the_last_one(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("4711")
    lock = elect(tmp_path)
    assert lock is not None
    assert (tmp_path / LOCK).read_text() == ""
    os.close(lock)


async def test_the_process_ends_without_clients(folder: Path) -> None:
    for expected in (0, 10):
        index = EdgeIndex(folder, PROMPT)
        await index.ensure(SPEC, "frames")
        assert await index.count("frames") == expected
        await index.upsert("frames", points(range(10)))
        assert runs(folder)
        await index.close()
        await until(lambda: not runs(folder))


async def test_the_log_of_a_process_that_runs_for_long_stays_small(folder: Path) -> None:
    index = EdgeIndex(folder, EdgeSettings(flush_seconds=0.1))
    await index.ensure(SPEC)
    begun = (folder / LOG).stat().st_ino
    with (folder / LOG).open("ab") as log:
        log.write(bytes(LARGEST_LOG_BYTES + 1))
    await until(lambda: (folder / LOG).exists() and (folder / LOG).stat().st_ino != begun)
    async for _ in index.compact():
        pass
    await until(lambda: b"rebuilt frames-a" in (folder / LOG).read_bytes())
    await index.close()


async def test_invalid_bytes_on_the_socket_do_not_affect_others(folder: Path, index: EdgeIndex) -> None:
    for content in (b"GET / HTTP/1.1\r\n\r\n", b"\x03\x00\x00\x00abc", b"\xff" * 100):
        with socket_path(folder) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(content)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert await index.count("frames") == 0


async def test_a_path_longer_than_a_socket_address(tmp_path: Path) -> None:
    long = tmp_path / ("ä" * 60) / ("b" * 60) / "index"
    with edge_folder(long):
        index = EdgeIndex(long)
        await index.ensure(SPEC, "frames")
        await index.upsert("frames", points(range(3)))
        end(long)
        assert await index.count("frames") == 3
        await index.close()


async def test_a_foreign_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"picture")
    index = EdgeIndex(tmp_path)
    with pytest.raises(WrongLayout, match=r"holiday\.jpg"):
        await index.ensure(SPEC, "frames")
    await index.close()
    assert (tmp_path / "holiday.jpg").read_bytes() == b"picture"
    assert {path.name for path in tmp_path.iterdir()} <= {"holiday.jpg", "index.lock", "index.log"}


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b'{"collections": {"fra', Damaged, "not a catalog"),
        (msgspec.json.encode(catalog.Catalog(format=2)), WrongLayout, "format 2"),
        (msgspec.json.encode(catalog.Catalog(format=0)), WrongLayout, "format 0"),
        (
            msgspec.json.encode(catalog.Catalog({"frames-a": catalog.Entry(SPEC, "shard-000009")})),
            Damaged,
            "shard-000009 is missing.*sightline repair",
        ),
        (msgspec.json.encode(catalog.Catalog(aliases={"a": "b"}, checksum=7)), Damaged, "checksum.*sightline repair"),
    ],
    ids=["torn", "newer", "zero", "shard gone", "flipped"],
)
async def test_a_damaged_catalog_is_reported_and_never_reset(
    folder: Path, content: bytes, error: type[StoreError], message: str
) -> None:
    folder.mkdir()
    (folder / catalog.FILE).write_bytes(content)
    index = EdgeIndex(folder)
    with pytest.raises(error, match=message):
        await index.collections()
    await index.close()
    assert (folder / catalog.FILE).read_bytes() == content


async def test_a_process_that_cannot_start_is_reported_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    index = EdgeIndex(tmp_path / "file" / "index", EdgeSettings(call_timeout_seconds=2))
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await index.collections()
    await index.close()
