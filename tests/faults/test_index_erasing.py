"""Bytes of deleted points leave the embedded index's folder, and their space comes back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid5

import msgspec
import numpy as np
import pytest

from stores.checks import unit_rows
from stores.edge import catalog
from stores.edge.client import EdgeIndex
from stores.edge.file_sums import allocated_bytes
from stores.edge.settings import EdgeSettings
from stores.index import CollectionSpec, Filter, Match, Point
from tests.support.edge_folder import edge_folder, end, until

SIZE = 32
SPEC = CollectionSpec(
    name="frames-a", vectors={"semantic": SIZE}, payload={"frame": "keyword", "caption": "text", "gated": "bool"}
)
PROMPT = EdgeSettings(purge_seconds=0.2, purge_share=1.0, idle_seconds=0.5)
ONLY_AT_THE_END = EdgeSettings(purge_seconds=3600.0, idle_seconds=0.5)
NEVER_ENDS = EdgeSettings(purge_seconds=3600.0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with edge_folder(tmp_path / "index") as folder:
        yield folder


def name(number: int) -> str:
    return str(uuid5(UUID(int=0), f"frame {number}"))


def vector(number: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(number).standard_normal(SIZE).astype("<f4")


def points(numbers: range) -> list[Point]:
    return [
        Point(
            id=name(number),
            vectors={"semantic": vector(number)},
            payload={"frame": name(number), "caption": f"somebody{number}whisper in red", "gated": number % 2 == 0},
        )
        for number in numbers
    ]


def frames(numbers: range) -> Filter:
    return Filter(must=(Match(field="frame", any_of=tuple(map(name, numbers))),))


def traces(folder: Path, number: int) -> list[str]:
    """Where in `folder` a byte of point `number` is left, and of what."""
    unit = unit_rows(vector(number)[np.newaxis])[0]
    wanted = {
        "caption": f"somebody{number}whisper".encode(),
        "id": name(number).encode(),
        "raw id": UUID(name(number)).bytes,
        "reversed id": UUID(name(number)).bytes[::-1],
        "vector": vector(number).tobytes()[:12],
        "unit vector": unit.tobytes()[4:16],
    }
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = data_of(path)
            found += [f"{path.relative_to(folder)}: {what}" for what, part in wanted.items() if part in content]
    return found


def data_of(path: Path) -> bytes:
    """What a file holds without its holes: Edge's files are mostly those."""
    parts, at = [], 0
    with path.open("rb", buffering=0) as file:
        while at < path.stat().st_size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end_of_data = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            parts.append(os.pread(file.fileno(), end_of_data - at, at))
            at = end_of_data
    return b"|".join(parts)


async def purged(folder: Path) -> None:
    """Returns once the catalog says that the bytes of deleted points are gone, and the old shard is removed."""

    def is_purged() -> bool:
        return not any(entry.unpurged for entry in catalog.load(folder).collections.values()) and shards(folder) == 1

    await until(is_purged)


def shards(folder: Path) -> int:
    return sum(path.is_dir() for path in folder.glob("shard-*"))


async def filled(folder: Path, settings: EdgeSettings, count: int = 60) -> EdgeIndex:
    index = EdgeIndex(folder, settings)
    await index.ensure(SPEC, "frames")
    await index.upsert("frames", points(range(count)))
    await index.flush()
    return index


async def is_intact(index: EdgeIndex, numbers: range) -> bool:
    hits = await index.get("frames", list(map(name, numbers)), with_vectors=["semantic"])
    captions = {hit.payload["caption"] for hit in hits}
    verified = await index.verify("frames")
    return captions == {f"somebody{number}whisper in red" for number in numbers} and not verified.damaged


async def test_no_byte_of_a_deleted_point_is_left_after_the_purge(folder: Path) -> None:
    index = await filled(folder, PROMPT)
    assert {trace.rpartition(" ")[2] for trace in traces(folder, 7)} >= {"caption", "id", "vector"}
    await index.delete("frames", frames(range(7, 8)))
    assert traces(folder, 7)
    await purged(folder)
    assert not traces(folder, 7)
    assert traces(folder, 8)
    assert await index.count("frames") == 59
    assert await is_intact(index, range(8, 60))
    assert await index.count("frames", Filter(must=(Match(field="caption", any_of=("somebody9whisper",)),))) == 1
    await index.close()


async def test_a_process_that_ends_purges_first(folder: Path) -> None:
    index = await filled(folder, ONLY_AT_THE_END)
    await index.delete("frames", frames(range(7, 8)))
    await index.close()
    await purged(folder)
    assert not traces(folder, 7)


async def test_a_deletion_is_purged_after_the_process_was_killed(folder: Path) -> None:
    index = await filled(folder, NEVER_ENDS)
    await index.delete("frames", frames(range(7, 8)))
    await index.close()
    end(folder)
    assert traces(folder, 7)
    index = EdgeIndex(folder, PROMPT)
    assert await index.count("frames") == 59
    await purged(folder)
    assert not traces(folder, 7)
    await index.close()


async def test_points_of_an_earlier_version_are_purged(folder: Path) -> None:
    """Its catalog says nothing of purges."""
    index = await filled(folder, NEVER_ENDS)
    await index.delete("frames", frames(range(7, 8)))
    await index.close()
    end(folder)
    for file in (folder / catalog.FILE, folder / catalog.COPY):
        old = catalog.load(folder)
        file.write_bytes(
            b'{"collections":{"frames-a":{"spec":%s,"shard":"%s"}},"aliases":{"frames":"frames-a"},"shards_made":1}'
            % (msgspec.json.encode(SPEC), old.collections["frames-a"].shard.encode())
        )
    index = EdgeIndex(folder, PROMPT)
    assert await index.count("frames") == 59
    await purged(folder)
    assert not traces(folder, 7)
    assert await is_intact(index, range(8, 60))
    await index.close()


async def test_a_kill_during_a_purge_loses_nothing(folder: Path) -> None:
    """Writes and deletions go on meanwhile; each kill comes while two shards exist, or just after."""
    index = await filled(folder, PROMPT, 200)
    expected = set(range(200))
    for turn in range(3):
        gone = range(10 * turn, 10 * turn + 10)
        await index.delete("frames", frames(gone))
        expected -= set(gone)
        await until(lambda: shards(folder) > 1)
        fresh = range(1_000 + 20 * turn, 1_020 + 20 * turn)
        await index.upsert("frames", points(fresh))
        expected |= set(fresh)
        end(folder)
    assert await index.count("frames") == len(expected)
    await purged(folder)
    assert not traces(folder, 5) + traces(folder, 25)
    hits = await index.get("frames", list(map(name, expected)))
    assert len(hits) == len(expected)
    await index.close()


async def test_deletions_during_a_purge_are_purged_too(folder: Path) -> None:
    index = await filled(folder, PROMPT, 400)
    await index.delete("frames", frames(range(1)))
    await until(lambda: shards(folder) > 1)
    await index.delete("frames", frames(range(390, 395)))
    await purged(folder)
    assert not traces(folder, 0) + traces(folder, 392)
    assert await index.count("frames") == 394
    await index.close()


async def test_the_folder_does_not_grow_over_rounds_of_writing_and_deleting(folder: Path) -> None:
    index = EdgeIndex(folder, PROMPT)
    await index.ensure(SPEC, "frames")
    empty = allocated_bytes(folder)
    sizes = []
    for turn in range(3):
        numbers = range(1_000 * turn, 1_000 * turn + 400)
        await index.upsert("frames", points(numbers))
        await index.delete("frames", frames(numbers))
        await purged(folder)
        assert not traces(folder, 1_000 * turn)
        sizes.append(allocated_bytes(folder))
    assert max(sizes) <= 1.1 * empty + 65536, (empty, sizes)
    await index.close()


async def test_compaction_is_live_and_reports_its_progress(folder: Path) -> None:
    index = await filled(folder, NEVER_ENDS, 400)
    await index.delete("frames", frames(range(390)))
    states = []
    async for stored in index.compact():
        states.append(stored["frames-a"])
        assert await index.count("frames") == 10
    assert states[0].bytes > states[-1].bytes
    assert any(state.compacting for state in states)
    assert not states[-1].compacting
    assert not traces(folder, 3)
    assert await is_intact(index, range(390, 400))
    await index.close()


async def test_a_search_during_a_rebuild_finds_everything(folder: Path) -> None:
    index = await filled(folder, NEVER_ENDS, 800)
    counts: list[int] = []

    async def search() -> None:
        while True:
            hits = await index.search("frames", "semantic", vector(3), limit=5)
            assert hits[0].id == name(3)
            counts.append(await index.count("frames"))

    searching = asyncio.create_task(search())
    async for _ in index.compact():
        pass
    searching.cancel()
    await asyncio.gather(searching, return_exceptions=True)
    assert set(counts) == {800}
    await index.close()
