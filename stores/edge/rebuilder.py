"""Rebuilds of collections: a child process writes all points to a new shard, which then replaces the old one.

Three reasons: points were deleted, and their bytes stay in Edge's files until then; many points are not indexed, and
`optimize()` would hold the interpreter's lock for minutes; a person asked for the space. The child asks the index
process for the points page by page, so searches and writes go on. What was written meanwhile is written to the new
shard again, and the rename of the catalog exchanges the two. If a process is killed on the way, the catalog names a
whole shard, and the other folder is a leftover.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from itertools import islice
from pathlib import Path

import qdrant_edge as edge

from stores.edge import catalog
from stores.edge.collection import Collection
from stores.edge.rebuild_order import Order, in_child
from stores.edge.request_scheduler import RequestScheduler
from stores.edge.shard import attempt

GROWTH_SHARE = 0.2
"""A collection is optimized again when it has grown by a fifth: so the work in all stays a small multiple of one."""
LONGEST_PURGE_SECONDS = 600.0
"""The latest beginning of a purge after a deletion, whatever it costs: with its duration, the deadline of erasing."""
RETRY_SECONDS = 60.0
"""After a rebuild that failed: a full disk is not read again and again."""
REPEATED_POINTS = 256
"""Points written again at a time, between two requests."""
RATE_SECONDS = 1.0
"""The interval over which the write rate is measured."""
_log = logging.getLogger("stores.edge")


class Rebuilder:
    """Watches deletions, unindexed points and the write rate; runs one rebuild at a time."""

    def __init__(self, scheduler: RequestScheduler) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._scheduler = scheduler
        self._folder = scheduler.folder
        self._samples: dict[str, tuple[float, int]] = {}
        self._durations: dict[str, float] = {}
        self._failed: dict[str, float] = {}

    def consider(self, now: float) -> None:
        """Begin a rebuild if one is due; called regularly, `now` in seconds of the monotonic clock."""
        for name, collection in self._folder.collections.items():
            grown = self._is_grown(name, collection, now)
            due = collection.compaction_requested or grown or self._must_purge(name, collection, now)
            if due and not self.tasks and now - self._failed.get(name, -RETRY_SECONDS) >= RETRY_SECONDS:
                self._begin(name, collection)

    def finish(self) -> bool:
        """Begin what is left to do before the process ends; whether there is any."""
        for name, collection in self._folder.collections.items():
            if collection.unpurged_since is not None and name not in self._failed and not self.tasks:
                self._begin(name, collection)
        return bool(self.tasks)

    def _must_purge(self, name: str, collection: Collection, now: float) -> bool:
        if collection.unpurged_since is None:
            return False
        settings = self._scheduler.settings
        affordable = min(self._durations.get(name, 0.0) / settings.purge_share, LONGEST_PURGE_SECONDS)
        return now - collection.unpurged_since >= max(settings.purge_seconds, affordable)

    def _is_grown(self, name: str, collection: Collection, now: float) -> bool:
        """Whether many points are not indexed, and few are being written."""
        sampled, written = self._samples.get(name, (now, collection.written))
        if now - sampled < RATE_SECONDS and name in self._samples:
            return False
        self._samples[name] = (now, collection.written)
        settings = self._scheduler.settings
        quiet = collection.written - written <= settings.quiet_points_per_second * (now - sampled)
        due = collection.written >= max(settings.optimize_points, GROWTH_SHARE * collection.points)
        return due and now > sampled and quiet

    def _begin(self, name: str, collection: Collection) -> None:
        task = asyncio.create_task(self._rebuild(name, collection), name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed[task.get_name()] = time.monotonic()
            if collection := self._folder.collections.get(task.get_name()):
                collection.failure = str(error)
            _log.error("a rebuild failed, the collection stays as it is: %r", error)

    async def _rebuild(self, name: str, collection: Collection) -> None:
        start, points, folder = time.monotonic(), collection.points, self._folder.new_shard()
        optimize = points >= self._scheduler.settings.optimize_points
        collection.compaction_requested = False
        collection.failure = ""
        collection.touched = set()
        collection.rebuilding = True
        if optimize:
            collection.written = 0
        try:
            order = Order(collection.spec, str(folder), os.getpid(), str(self._folder.folder), optimize=optimize)
            await in_child(order)
            async with self._scheduler.copying:
                await self._exchange(name, collection, folder)
        finally:
            collection.touched = None
            collection.rebuilding = False
            current = self._folder.collections.get(name)
            if current is None or current.folder != folder:
                await asyncio.to_thread(catalog.remove_shard, folder)
        self._durations[name] = time.monotonic() - start
        self._failed.pop(name, None)
        _log.info("rebuilt %s with %d points in %.1f s", name, points, self._durations[name])

    async def _exchange(self, name: str, old: Collection, folder: Path) -> None:
        shard = attempt(lambda: edge.EdgeShard.load(str(folder)))
        new = Collection(old.spec, folder, shard, verified=old.verified and not old.damaged)
        try:
            while old.touched:
                repeat_writes(old, new)
                await asyncio.sleep(0)
            # No await from here on, so nothing is written to the old shard any more.
            new.spec, new.written, new.last_write = old.spec, old.written, time.monotonic()
            new.compaction_requested, new.rebuilding = old.compaction_requested, True
            new.missing = old.missing
            new.index_fields()
            new.flush()
            self._folder.exchange(name, old, new)
        except BaseException:
            new.close()
            raise
        old.close()
        await asyncio.to_thread(catalog.remove_shard, old.folder)
        new.rebuilding = False


def repeat_writes(old: Collection, new: Collection) -> None:
    """Apply to `new` some of the points that were written to `old` since its rebuild began, as `old` now has them."""
    touched = old.touched or set()
    ids = list(islice(touched, REPEATED_POINTS))
    touched.difference_update(ids)
    records = old.records(ids, list(old.spec.vectors))
    existing = [str(record.id) for record in records]
    if records:
        new.write(existing, [record.vector for record in records], [record.payload or {} for record in records])
    if deleted := set(ids).difference(existing):
        new.delete_ids(sorted(deleted))
        new.unpurged_since = new.unpurged_since or time.monotonic()
