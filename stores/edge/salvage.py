"""What is left of damaged collections: their intact points in a new shard each."""

from __future__ import annotations

import asyncio
import logging
import os

import qdrant_edge as edge

from stores.edge import catalog
from stores.edge.collection import Collection
from stores.edge.index_folder import IndexFolder
from stores.edge.rebuild_order import Order, in_child
from stores.edge.shard import attempt, create
from stores.errors import StoreError

SALVAGE_SECONDS = 600.0
"""Reading a damaged file may never end; 200,000 points take a minute."""
_log = logging.getLogger("stores.edge")


async def salvage(folder: IndexFolder) -> dict[str, int]:
    """Replace each broken collection; the number of points that were intact, by collection.

    A child process reads the damaged files, because they can make Edge end the process. What it cannot read is
    missing.
    """
    broken = list(folder.broken)
    for name in broken:
        folder.restore(name, await _salvaged(folder, name))
    return {name: folder.collections[name].points for name in broken}


async def _salvaged(folder: IndexFolder, name: str) -> Collection:
    entry, target = folder.entry(name), folder.new_shard()
    damaged = str(folder.folder / entry.shard)
    try:
        async with asyncio.timeout(SALVAGE_SECONDS):
            await in_child(Order(entry.spec, str(target), os.getpid(), damaged_shard=damaged, sealed=entry.sealed))
    except (RuntimeError, TimeoutError) as error:
        _log.warning("collection %s: not all points could be read: %r", name, error)
    try:
        shard = attempt(lambda: edge.EdgeShard.load(str(target)))
    except StoreError:
        catalog.remove_shard(target)
        shard = attempt(lambda: create(target, entry.spec))
    return Collection(entry.spec, target, shard)
