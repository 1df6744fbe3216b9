"""What the embedded index says that it needs is what it takes while it rebuilds itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from stores.edge.client import EdgeIndex
from stores.edge.disk_use import IndexUse, folder_bytes, index_use
from stores.edge.settings import EdgeSettings
from stores.edge.stop import stop
from stores.index import CollectionSpec, Filter, Match, Point

SPEC = CollectionSpec(name="frames-x", vectors={"semantic": 256}, payload={"half": "keyword"})
NEVER_BY_ITSELF = {"purge_seconds": 3600.0, "quiet_points_per_second": -1.0}


@pytest.mark.parametrize("optimize_points", [50_000, 250])
async def test_a_rebuild_takes_what_was_said(tmp_path: Path, optimize_points: int) -> None:
    folder = tmp_path / "index"
    settings = EdgeSettings(**NEVER_BY_ITSELF, optimize_points=optimize_points)  # type: ignore[arg-type]
    index = EdgeIndex(folder, settings)
    await index.ensure(SPEC)
    await write_points(index, 600)
    filled = index_use(folder, optimize_points)
    assert (filled.used_bytes, filled.oldest_unpurged) == (filled.lasting_bytes, None)
    assert await most_while_compacting(index, folder) <= filled.needed_bytes
    await index.delete("frames-x", Filter(must=(Match(field="half", any_of=("0",)),)))
    await index.flush()
    deleted = index_use(folder, optimize_points)
    assert deleted.oldest_unpurged == filled.shards_made + 1
    most = await most_while_compacting(index, folder)
    rebuilt = index_use(folder, optimize_points)
    assert most <= deleted.needed_bytes
    assert rebuilt.oldest_unpurged is None
    assert rebuilt.used_bytes < 0.7 * deleted.used_bytes
    await index.close()
    stop(folder)


def test_the_shard_of_a_rebuild_is_not_counted_twice(tmp_path: Path) -> None:
    assert index_use(tmp_path / "none") == IndexUse(0, 0, 0)
    (tmp_path / "shard-000009").mkdir()
    (tmp_path / "shard-000009" / "segment").write_bytes(bytes(10_000))
    use = index_use(tmp_path)
    assert (use.lasting_bytes, use.needed_bytes) == (0, 0)
    assert use.used_bytes >= 10_000


async def write_points(index: EdgeIndex, count: int) -> None:
    random = np.random.default_rng(1)
    for first in range(0, count, 100):
        points = [
            Point(
                id=str(UUID(int=number + 1)),
                vectors={"semantic": random.standard_normal(256).astype("<f4")},
                payload={"half": str(number % 2), "caption": "a red ball " * 20},
            )
            for number in range(first, first + 100)
        ]
        await index.upsert("frames-x", points)
    await index.flush()


async def most_while_compacting(index: EdgeIndex, folder: Path) -> int:
    """The most bytes that the folder had at any look."""
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(folder_bytes, folder))
            await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    async for _ in index.compact():
        pass
    looking.cancel()
    return most
