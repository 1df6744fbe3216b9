"""Puts an embedded index whose files are damaged back in use: intact points are kept, the others are made again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from sightline.config import Config
from sightline.wiring.lost_log import index_folder
from stores.edge.client import EdgeIndex
from stores.edge.stop import stop
from stores.errors import Damaged


async def salvage_index(config: Config, *, dry_run: bool) -> list[str]:
    """What was done, or would be; empty where the index's files are whole, or are not ours."""
    folder = index_folder(config)
    if folder is None or not folder.is_dir() or (damage := await _damage(folder)) is None:
        return []
    if dry_run:
        return [f"! {damage}: its intact points would be kept, and the others made again"]
    try:
        index = EdgeIndex(folder)
        try:
            kept = await index.salvage()
        finally:
            await index.close()
        if await _damage(folder) is None:
            return [f"collection {name} was damaged; intact points kept: {points}" for name, points in kept.items()]
    except Damaged:
        pass  # not even the catalog can be read
    return [await _set_aside(folder)]


async def _damage(folder: Path) -> str | None:
    index = EdgeIndex(folder)
    try:
        await index.collections()
    except Damaged as error:
        return str(error).partition(";")[0]
    finally:
        await index.close()
    return None


async def _set_aside(folder: Path) -> str:
    await asyncio.to_thread(stop, folder)
    aside = folder.with_name(f"{folder.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    folder.rename(aside)
    return f"the index cannot be read: it is in {aside} now, and its points are made again; remove it once they are"
