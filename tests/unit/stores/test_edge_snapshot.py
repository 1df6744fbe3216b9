"""A snapshot of the embedded index while it is written: an index folder of its own, with everything acknowledged."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.errors import StoreUnavailable
from stores.index import CollectionSpec, Point
from tests.support.edge_folder import edge_folder, end

SPEC = CollectionSpec(name="frames", vectors={"semantic": 4}, payload={"frame": "keyword"})
BATCH, BATCHES_BEFORE = 20, 3


def batch(number: int) -> list[Point]:
    ids = [str(UUID(int=number * BATCH + position + 1)) for position in range(BATCH)]
    return [Point(id=name, vectors={"semantic": np.ones(4, np.float32)}, payload={"frame": name}) for name in ids]


async def test_a_snapshot_of_an_index_that_is_written_is_whole(tmp_path: Path) -> None:
    source, copy = tmp_path / "index", tmp_path / "copy"
    with edge_folder(source), edge_folder(copy):
        index = EdgeIndex(source)
        await index.ensure(SPEC, "latest")
        for number in range(BATCHES_BEFORE):
            await index.upsert("frames", batch(number))
        acknowledged = BATCHES_BEFORE * BATCH
        later = [asyncio.create_task(index.upsert("frames", batch(BATCHES_BEFORE + each))) for each in range(10)]
        points = await index.snapshot(copy)
        await asyncio.gather(*later)
        total = await index.count("frames")
        await index.close()
        copied = EdgeIndex(copy, EdgeSettings(idle_seconds=1.0))
        found = await copied.count("latest")
        await copied.close()
    assert points == {"frames": found}
    assert acknowledged <= found <= total == 13 * BATCH
    assert found % BATCH == 0


async def test_writes_wait_until_what_belongs_to_the_snapshot_is_noted(tmp_path: Path) -> None:
    """A log that is pinned meanwhile knows every frame of the copy, and a client that goes away holds nothing back."""
    source, copy = tmp_path / "index", tmp_path / "copy"
    with edge_folder(source):
        index, other = EdgeIndex(source), EdgeIndex(source)
        await index.ensure(SPEC)
        await index.upsert("frames", batch(0))
        writing: list[asyncio.Task[None]] = []

        async def while_held() -> None:
            writing.append(asyncio.create_task(other.upsert("frames", batch(1))))
            for _ in range(20):
                assert await other.count("frames") == BATCH

        assert await index.snapshot(copy, while_held) == {"frames": BATCH}
        await writing[0]
        assert await index.count("frames") == 2 * BATCH

        async def go_away() -> None:
            await index.close()
            await other.upsert("frames", batch(2))

        with pytest.raises(StoreUnavailable, match="try again"):
            await index.snapshot(copy, go_away)
        await other.close()
        await index.close()


async def test_a_snapshot_takes_the_place_of_a_broken_off_one(tmp_path: Path) -> None:
    source, copy = tmp_path / "index", tmp_path / "copy"
    (copy / "shard-000009").mkdir(parents=True)
    with edge_folder(source):
        index = EdgeIndex(source)
        await index.ensure(SPEC)
        await index.upsert("frames", batch(0))
        assert await index.snapshot(copy) == {"frames": BATCH}
        await index.close()
    assert not (copy / "shard-000009").exists()
    allocated = sum(path.stat().st_blocks * 512 for path in copy.rglob("*") if path.is_file())
    assert allocated < 4 << 20, "blocks of zeros take no space"


async def test_a_damaged_index_is_not_copied(tmp_path: Path) -> None:
    """A copy of damage would take the place of a good backup."""
    source = tmp_path / "index"
    with edge_folder(source):
        index = EdgeIndex(source)
        await index.ensure(SPEC)
        await index.upsert("frames", batch(0))
        await index.close()
        end(source, signal.SIGTERM)
        victim = max(source.rglob("*.mmap"), key=lambda path: path.stat().st_blocks)
        content = victim.read_bytes()
        victim.write_bytes(bytes([content[0] ^ 255]) + content[1:])
        index = EdgeIndex(source)
        with pytest.raises(StoreUnavailable):
            await index.snapshot(tmp_path / "copy")
        await index.close()
    assert not (tmp_path / "copy").exists()
