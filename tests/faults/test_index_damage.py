"""Damaged files of the embedded index are named, with the way out; damaged points are never returned."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from stores.edge import catalog, file_sums
from stores.edge.client import EdgeIndex
from stores.edge.index_folder import IndexFolder
from stores.edge.proof import record
from stores.edge.settings import EdgeSettings
from stores.errors import Damaged
from stores.index import CollectionSpec, Point, Verified
from stores.sparse_files import copy_sparse
from tests.support.edge_folder import edge_folder, end

SIZE = 16
SPEC = CollectionSpec(
    name="frames-a", vectors={"semantic": SIZE, "visual": 4}, payload={"feed": "keyword", "width": "integer"}
)
OTHER = CollectionSpec(name="regions-a", vectors={"semantic": SIZE}, payload={})
COUNT = 400
NEVER_PURGES = EdgeSettings(purge_seconds=3600.0)
FLIPS = 5


def name(number: int) -> str:
    return str(UUID(int=number + 1))


def points(count: int) -> list[Point]:
    random = np.random.default_rng(0)
    return [
        Point(
            id=name(number),
            vectors={"semantic": random.standard_normal(SIZE, np.float32), "visual": np.ones(4, np.float32)},
            payload={"feed": f"feed{number % 3}", "width": number, "score": number / 7, "caption": f"mark{number}mark"},
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder whose process has ended as it should."""
    folder = tmp_path_factory.mktemp("closed") / "index"

    async def write() -> None:
        index = EdgeIndex(folder, NEVER_PURGES)
        await index.ensure(SPEC, "frames")
        await index.ensure(OTHER, "regions")
        await index.upsert("frames", points(COUNT))
        await index.close()

    with edge_folder(folder):
        asyncio.run(write())
    return folder


@pytest.fixture
def folder(closed: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it."""
    with edge_folder(tmp_path / "index") as copy:
        shutil.copytree(closed, copy, copy_function=copy_sparse)
        yield copy


def shard(folder: Path) -> Path:
    return folder / catalog.load(folder).collections[SPEC.name].shard


def file(folder: Path, pattern: str) -> Path:
    return next(path for path in shard(folder).rglob(pattern) if path.is_file())


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 0xFF]))


def flip_where(path: Path, content: bytes) -> None:
    """Flip a byte of `content` in the file."""
    at = path.read_bytes().find(content)
    assert at >= 0
    flip(path, at + len(content) // 2)


def told(folder: Path) -> str:
    """The error of the damaged collection, as the index process finds it before it opens the shard."""
    sums = file_sums.read(shard(folder))
    assert sums is not None
    with pytest.raises(Damaged) as damaged:
        file_sums.verify(shard(folder), sums)
    return str(damaged.value)


def test_every_file_of_a_shard_cut_or_flipped_is_named(folder: Path, tmp_path: Path) -> None:
    files = sorted(path for path in shard(folder).rglob("*") if path.is_file())
    assert len(files) > 20
    for path in files:
        size, kept = path.stat().st_size, tmp_path / "kept"
        path.rename(kept)
        assert path.name in told(folder), "a file that is gone"
        changes = [partial(flip, path, (size - 1) * part // (FLIPS - 1)) for part in range(FLIPS)]
        for change in (*changes, partial(os.truncate, path, size // 2)):
            copy_sparse(str(kept), str(path))
            change()
            assert path.name in (message := told(folder)), change
            assert "sightline repair" in message
        kept.rename(path)


async def test_a_shard_that_was_only_read_is_whole(folder: Path) -> None:
    """Edge writes files as it closes a shard, with keys in any order: its files may be recorded before that."""
    for _ in range(6):
        opened = IndexFolder(folder)
        assert opened.broken == {}
        for collection in opened.collections.values():
            await record(collection)
            assert collection.proven
        opened.close()


@pytest.mark.parametrize("pattern", ["edge_config.json", "*.mappings", "chunk_0.mmap"])
async def test_a_damaged_collection_is_reported_at_once_and_salvaged(folder: Path, pattern: str) -> None:
    """Other collections go on. The intact points of the damaged one are kept."""
    path = file(folder, pattern)
    os.truncate(path, path.stat().st_size // 2)
    index = EdgeIndex(folder)
    for call in (index.count("frames"), index.collections(), index.ensure(SPEC, "frames")):
        with pytest.raises(Damaged, match=rf"{path.name}.*sightline repair"):
            await call
    assert await index.count("regions") == 0
    kept = await index.salvage()
    assert kept.keys() == {SPEC.name}
    assert kept[SPEC.name] <= COUNT
    await index.ensure(SPEC, "frames")
    await index.upsert("frames", points(COUNT))
    assert await index.count("frames") == COUNT
    assert await index.verify("frames") == Verified(COUNT, ())
    await index.close()


async def test_a_file_that_crashes_the_process_is_survived(folder: Path) -> None:
    """Without checksums of the files, as after a kill, Edge opens this one and aborts."""
    file_sums.path_of(shard(folder)).unlink()
    path = file(folder, "*.mappings")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 16] = b"\xff" * 16
    path.write_bytes(content)
    index = EdgeIndex(folder)
    with pytest.raises(Damaged, match=r"shard-.*sightline repair"):
        await index.collections()
    with pytest.raises(Damaged, match=r"shard-.*sightline repair"):
        await index.count("frames")
    assert await index.count("regions") == 0
    assert (await index.salvage()).keys() == {SPEC.name}
    await index.upsert("frames", points(COUNT))
    assert await index.count("frames") == COUNT
    await index.close()


async def test_a_shard_that_never_opens_is_reported(folder: Path) -> None:
    """A pipe that nothing is written to takes the place of a file: reading it does not end."""
    path = file(folder, "edge_config.json")
    path.unlink()
    os.mkfifo(path)
    index = EdgeIndex(folder, EdgeSettings(open_seconds=0.5))
    for _ in range(2):
        with pytest.raises(Damaged, match=r"shard-000001.*sightline repair"):
            await index.count("frames")
    assert await index.count("regions") == 0
    await index.close()


async def test_a_failed_assertion_of_edge_names_the_shard(folder: Path) -> None:
    """As after a kill. The other collection goes on, and the repair keeps every point."""
    file_sums.path_of(shard(folder)).unlink()
    path = next(shard(folder).rglob("is_null/status.dat"))
    os.truncate(path, path.stat().st_size // 2)
    index = EdgeIndex(folder)
    with pytest.raises(Damaged, match=rf"{shard(folder)}.*sightline repair"):
        await index.collections()
    assert await index.count("regions") == 0
    assert await index.salvage() == {SPEC.name: COUNT}
    await index.close()


async def unproven(folder: Path) -> EdgeIndex:
    """The folder after a kill: there is no record of the files' checksums, and points are verified one by one."""
    file_sums.path_of(shard(folder)).unlink()
    return EdgeIndex(folder, NEVER_PURGES)


async def test_a_flipped_vector_is_left_out_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = await unproven(folder)
    (hit,) = await index.get("frames", [name(7)], with_vectors=["semantic"])
    await index.close()
    end(folder)
    flip_where(next(shard(folder).rglob("vector_storage-semantic/vectors/chunk_0.mmap")), hit.vectors["semantic"][8:16])
    file_sums.path_of(shard(folder)).unlink(missing_ok=True)
    index = EdgeIndex(folder, NEVER_PURGES)
    assert await index.get("frames", [name(7)], with_vectors=["semantic"]) == []
    assert name(7) in caplog.text
    assert "sightline repair" in caplog.text
    verified = await index.verify("frames")
    assert (verified.points, verified.damaged) == (COUNT, (name(7),))
    await index.upsert("frames", points(8)[7:])
    assert (await index.verify("frames")).damaged == ()
    await index.close()


async def test_a_flipped_payload_is_left_out_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    flip_where(next(shard(folder).rglob("payload_storage/page_0.dat")), b"mark7mark")
    index = await unproven(folder)
    hits, _ = await index.scroll("frames", limit=COUNT)
    assert {hit.id for hit in hits} == {name(number) for number in range(COUNT)} - {name(7)}
    assert "sightline repair" in caplog.text
    found = await index.search("frames", "semantic", points(8)[7].vectors["semantic"], limit=3)
    assert name(7) not in {hit.id for hit in found}
    assert (await index.verify("frames")).damaged == (name(7),)
    await index.close()


async def test_points_lost_from_the_file_of_ids_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = file(folder, "*.mappings")
    os.truncate(path, path.stat().st_size // 2)
    index = await unproven(folder)
    left = await index.count("frames")
    assert left < COUNT
    assert f"{COUNT - left} of {COUNT} points are lost" in caplog.text
    assert (await index.verify("frames")).missing == COUNT - left
    await index.upsert("frames", points(COUNT))
    assert (await index.verify("frames")).missing == 0
    await index.close()


async def test_a_damaged_catalog_is_replaced_by_its_copy(folder: Path) -> None:
    flip_where(folder / catalog.FILE, b"frames-a")
    index = EdgeIndex(folder, NEVER_PURGES)
    assert await index.count("frames") == COUNT
    await index.close()
    assert "damaged" in (folder / "index.log").read_text()
