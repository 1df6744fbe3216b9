"""Where log, index and pictures lie, how much they take, and how long there is room: told at start and on request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sightline.config import Config
from sightline.wiring.lost_log import index_folder, log_path, picture_folder
from stores.blobs import BlobStore
from stores.errors import StoreUnavailable
from streams.clock import SystemClock
from streams.lifecycle.storage_parts import Part, StorageFolders, warnings
from streams.lifecycle.storage_upkeep import StorageSpec, parts
from streams.lifecycle.stored_bytes import StoredBytes
from streams.lifecycle.tenants import Tenants

ESTIMATE_SECONDS = 2.0
"""A start waits no longer for the estimate: listing a million pictures takes longer."""
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def storage_spec(config: Config) -> StorageSpec:
    folders = StorageFolders(log=log_path(config), index=index_folder(config), pictures=picture_folder(config))
    return StorageSpec(config.tenant, config.storage, folders)


async def storage_parts(config: Config, blobs: BlobStore, tenants: Tenants | None = None) -> list[Part]:
    """Every part, counted now; pictures of the configured tenant and of `tenants`.

    Raises StoreUnavailable, Unavailable.
    """
    stored = StoredBytes(blobs, config.tenant, SystemClock(), tenants)
    await stored.refresh()
    return await parts(storage_spec(config), stored)


async def storage_lines(config: Config, blobs: BlobStore) -> list[str]:
    """One line with what the parts take and how long there is room, and one for each that is nearly full.

    Nothing where counting takes too long, or the store is away: a start does not wait for it.
    """
    try:
        async with asyncio.timeout(ESTIMATE_SECONDS):
            counted = await storage_parts(config, blobs)
    except (TimeoutError, StoreUnavailable):
        return []
    return [f"Storage: {', '.join(map(words, counted))}", *warnings(counted), *not_applied(config)]


async def excess_lines(config: Config, blobs: BlobStore) -> list[str]:
    """A line for each limit that pictures of the configured tenant exceed: only workers make room.

    Nothing where counting takes too long, or the store is away.
    """
    limits = {feed: own.bytes for feed, own in config.storage.feeds.items() if own.bytes is not None}
    if config.storage.picture_bytes is None and not limits:
        return []
    stored = StoredBytes(blobs, config.tenant, SystemClock())
    try:
        async with asyncio.timeout(ESTIMATE_SECONDS):
            await stored.refresh()
    except (TimeoutError, StoreUnavailable):
        return []
    checks = [("storage.picture_bytes", "all feeds", stored.total, config.storage.picture_bytes)]
    checks += [(f"storage.feeds.{feed}.bytes", f"feed {feed}", stored.of(feed), own) for feed, own in limits.items()]
    return [
        f"pictures of {whose} take {size(used)}, {size(used - limit)} more than {key} = {size(limit)}: a worker makes"
        " room as it finishes them, oldest first (`sightline work`)"
        for key, whose, used, limit in checks
        if limit is not None and used > limit
    ]


def not_applied(config: Config) -> Sequence[str]:
    if config.storage.index_bytes is None or index_folder(config) is not None:
        return ()
    return ("storage.index_bytes limits the embedded index alone; points on a Qdrant server go with their pictures",)


def words(part: Part) -> str:
    """`pictures 3.1 GB of 20 GB (+1.2 GB a day, 14 days left)`."""
    limit = "" if part.limit_bytes is None else f" of {size(part.limit_bytes)}"
    reserved = [f"and {size(part.reserved_bytes)} while it is rebuilt"] if part.reserved_bytes else []
    rate = [f"+{size(part.day_bytes)} a day"] if part.day_bytes else []
    left = [f"{part.days_left:.0f} days left"] if rate and part.days_left is not None else []
    notes = reserved + rate + left
    return f"{part.name} {size(part.used_bytes)}{limit}" + (f" ({', '.join(notes)})" if notes else "")


def size(count: float) -> str:
    """In the decimal units that disks are sold by."""
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"
