"""Optimization in a child process: Edge's `optimize()` holds the interpreter's lock for minutes.

A consistent copy of the shard is optimized by a child process of low priority and then replaces the shard. What was
written meanwhile is written to the copy again, and the rename of the catalog exchanges the two. If a process is killed
on the way, the catalog names a whole shard, and the other folder is a leftover.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import time
from itertools import islice
from pathlib import Path

import qdrant_edge as edge

from stores.edge.collection import Collection, attempt
from stores.edge.request_scheduler import RequestScheduler

GROWTH_SHARE = 0.2
"""A collection is optimized again when it has grown by a fifth: so the work in all stays a small multiple of one."""
REPEATED_POINTS = 256
"""Points written again at a time, between two requests."""
RATE_SECONDS = 1.0
"""The interval over which the write rate is measured."""
_log = logging.getLogger("stores.edge")


class Optimizer:
    """Watches the unindexed points and the write rate; runs one optimization at a time."""

    def __init__(self, scheduler: RequestScheduler) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._scheduler = scheduler
        self._folder = scheduler.folder
        self._samples: dict[str, tuple[float, int]] = {}

    def consider(self, now: float) -> None:
        """Begin an optimization if one is due; called regularly, `now` in seconds of the monotonic clock."""
        for name, collection in self._folder.collections.items():
            sampled, written = self._samples.get(name, (now, collection.written))
            if now - sampled >= RATE_SECONDS or name not in self._samples:
                self._samples[name] = (now, collection.written)
                quiet = self._is_quiet(collection.written - written, now - sampled)
                if self._is_due(collection) and now > sampled and quiet and not self.tasks:
                    self._begin(name, collection)

    def _is_due(self, collection: Collection) -> bool:
        return collection.written >= max(self._scheduler.settings.optimize_points, GROWTH_SHARE * collection.points)

    def _is_quiet(self, points: int, seconds: float) -> bool:
        return points <= self._scheduler.settings.quiet_points_per_second * seconds

    def _begin(self, name: str, collection: Collection) -> None:
        task = asyncio.create_task(self._optimize(name, collection))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("optimization failed, the index stays as it is: %r", error)

    async def _optimize(self, name: str, collection: Collection) -> None:
        start, points, folder = time.monotonic(), collection.points, self._folder.new_shard()
        collection.written = 0
        try:
            await self._copy(collection, folder)
            await optimize_in_child(folder)
            await self._exchange(name, collection, folder)
        finally:
            collection.touched = None
            current = self._folder.collections.get(name)
            if current is None or current.folder != folder:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        _log.info("optimized %s with %d points in %.1f s", name, points, time.monotonic() - start)

    async def _copy(self, collection: Collection, folder: Path) -> None:
        """Copy the shard while writes wait; from then on `touched` collects the ids that are written."""
        async with self._scheduler.copying:
            self._scheduler.writes_held = True
            try:
                collection.flush()
                await asyncio.to_thread(shutil.copytree, collection.folder, folder)
                collection.touched = set()
            finally:
                self._scheduler.release_writes()

    async def _exchange(self, name: str, old: Collection, folder: Path) -> None:
        async with self._scheduler.copying:
            await self._exchange_alone(name, old, folder)

    async def _exchange_alone(self, name: str, old: Collection, folder: Path) -> None:
        new = Collection(old.spec, folder, attempt(lambda: edge.EdgeShard.load(str(folder))))
        try:
            while old.touched:
                repeat_writes(old, new)
                await asyncio.sleep(0)
            # No await from here on, so nothing is written to the old shard any more.
            new.spec, new.written = old.spec, old.written
            new.index_fields()
            new.flush()
            self._folder.exchange(name, old, new)
        except BaseException:
            new.close()
            raise
        old.close()
        await asyncio.to_thread(shutil.rmtree, old.folder, ignore_errors=True)


def repeat_writes(old: Collection, new: Collection) -> None:
    """Apply to `new` some of the points that were written to `old` since the copy, as `old` now has them."""
    touched = old.touched or set()
    ids = list(islice(touched, REPEATED_POINTS))
    touched.difference_update(ids)
    records = old.records(ids, list(old.spec.vectors))
    existing = [str(record.id) for record in records]
    if records:
        new.write(existing, [record.vector for record in records], [record.payload or {} for record in records])
    if deleted := set(ids).difference(existing):
        new.delete_ids(sorted(deleted))


async def optimize_in_child(folder: Path) -> None:
    """Raises RuntimeError if the child fails; the child ends with this task, and with this process."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "stores.edge.optimize_shard", str(folder))
    try:
        if await child.wait() != 0:
            raise RuntimeError(f"the optimization of {folder.name} ended with status {child.returncode}")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
