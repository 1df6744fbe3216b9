"""The proof that a collection is whole: all points verified after an unclean end, then the files recorded in quiet."""

from __future__ import annotations

import asyncio
import logging

from stores.edge import file_sums
from stores.edge.collection import Collection
from stores.edge.index_folder import IndexFolder
from stores.edge.request_scheduler import RequestScheduler
from stores.errors import StoreError

SLICE_POINTS = 64
"""Points verified at a time: some milliseconds, so that a search does not wait long."""
_log = logging.getLogger("stores.edge")
QUIET_SECONDS = 10.0
"""The files are recorded this long after the last write, because the next write makes the record void."""


class Prover:
    """Proceeds slice by slice, beside the work."""

    def __init__(self, folder: IndexFolder) -> None:
        self._folder = folder
        self._after: dict[str, str | None] = {}
        self._failed: set[str] = set()
        """Shards that cannot be read, or whose record cannot be written: they stay without a proof."""

    async def proceed(self, now: float) -> None:
        """One step for each collection; called regularly, `now` in seconds of the monotonic clock."""
        for collection in list(self._folder.collections.values()):
            if collection.folder.name not in self._failed:
                try:
                    await self._step(collection, now)
                except (OSError, StoreError) as error:
                    self._failed.add(collection.folder.name)
                    _log.error("collection %s is not verified: %s", collection.spec.name, error)

    async def _step(self, collection: Collection, now: float) -> None:
        if not collection.verified:
            self._verify(collection)
        elif not collection.proven and now - collection.last_write >= QUIET_SECONDS:
            await record(collection)

    async def finish(self, scheduler: RequestScheduler) -> bool:
        """Verify the rest; False if a client connects meanwhile."""
        for collection in list(self._folder.collections.values()):
            while not collection.verified and collection.folder.name not in self._failed:
                if scheduler.connected:
                    return False
                await self.proceed(0.0)
                await asyncio.sleep(0)
        return True

    def _verify(self, collection: Collection) -> None:
        shard = collection.folder.name
        _, _, following = collection.verify(SLICE_POINTS, self._after.get(shard))
        self._after[shard] = following
        collection.verified = following is None


async def record(collection: Collection) -> None:
    """Record the files of `collection`, unless it is damaged or written meanwhile."""
    if not collection.is_whole or collection.touched is not None:
        return
    collection.flush()
    written = collection.last_write
    try:
        sums = await asyncio.to_thread(file_sums.of_files, collection.folder, collection.points)
    except FileNotFoundError:  # the collection was removed meanwhile
        return
    if collection.last_write == written and not collection.unflushed:
        file_sums.write(collection.folder, sums)
        collection.proven = True
