"""Optimisation beside the work: Edge's `optimize()` holds the interpreter's lock for minutes.

A copy of the shard, made of one moment, is optimised by a child process of low priority and then takes the shard's
place: what was written meanwhile is written to it again, and the catalog's rename exchanges the two. Whatever is
killed on the way, the catalog names a whole shard, and the other folder is a leftover.
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
from stores.edge.listener import Listener

AGAIN_SHARE = 0.2
"""A collection is optimised again when it has grown by a fifth: so the work in all stays a small multiple of one."""
SLICE = 256
"""Points written again at a time, between two requests."""
_log = logging.getLogger("stores.edge")


class Optimiser:
    """Watches how much is not indexed and how fast is written; one optimisation at a time."""

    def __init__(self, listener: Listener) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._listener = listener
        self._service = listener.service
        self._seen: dict[str, tuple[float, int]] = {}

    def consider(self, now: float) -> None:
        """Begin an optimisation if one is due; called by the clock, `now` in seconds."""
        for name, collection in self._service.collections.items():
            then, written = self._seen.get(name, (now, collection.written))
            settings = self._listener.settings
            due = collection.written >= max(settings.optimise_points, AGAIN_SHARE * collection.points)
            if now - then >= 1.0 or name not in self._seen:
                self._seen[name] = (now, collection.written)
                quiet = (collection.written - written) <= settings.quiet_points_per_second * (now - then)
                if due and now > then and quiet and not self.tasks:
                    self._begin(name, collection)

    def _begin(self, name: str, collection: Collection) -> None:
        task = asyncio.create_task(self._optimise(name, collection))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an optimisation failed, the index goes on without it: %r", error)

    async def _optimise(self, name: str, collection: Collection) -> None:
        began, points, folder = time.monotonic(), collection.points, self._service.new_folder()
        collection.written = 0
        try:
            await self._copy(collection, folder)
            await optimise_in_child(folder)
            await self._exchange(name, collection, folder)
        finally:
            collection.touched = None
            now = self._service.collections.get(name)
            if now is None or now.folder != folder:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        _log.info("optimised %s with %d points in %.1f s", name, points, time.monotonic() - began)

    async def _copy(self, collection: Collection, folder: Path) -> None:
        """Copy the shard while nobody writes; from then on what is written is remembered in `touched`."""
        self._listener.writes_held = True
        try:
            collection.flush()
            await asyncio.to_thread(shutil.copytree, collection.folder, folder)
            collection.touched = set()
        finally:
            self._listener.release_writes()

    async def _exchange(self, name: str, old: Collection, folder: Path) -> None:
        fresh = Collection(old.spec, folder, attempt(lambda: edge.EdgeShard.load(str(folder))))
        try:
            while old.touched:
                repeat_writes(old, fresh)
                await asyncio.sleep(0)
            # No await from here on: nobody writes to the old shard any more.
            fresh.spec, fresh.written = old.spec, old.written
            fresh.index_fields()
            fresh.flush()
            self._service.exchange(name, old, fresh)
        except BaseException:
            fresh.close()
            raise
        old.close()
        await asyncio.to_thread(shutil.rmtree, old.folder, ignore_errors=True)


def repeat_writes(old: Collection, fresh: Collection) -> None:
    """Write a slice of what was written to `old` since the copy to `fresh`; the old shard says what there is now."""
    touched = old.touched or set()
    ids = list(islice(touched, SLICE))
    touched.difference_update(ids)
    records = old.records(ids, list(old.spec.vectors))
    there = [str(record.id) for record in records]
    if records:
        fresh.write(there, [record.vector for record in records], [record.payload or {} for record in records])
    if gone := set(ids).difference(there):
        fresh.delete_ids(sorted(gone))


async def optimise_in_child(folder: Path) -> None:
    """Raises RuntimeError if the child fails; it is ended with this task, and with this process."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "stores.edge.child", str(folder))
    try:
        if await child.wait() != 0:
            raise RuntimeError(f"optimising {folder.name} ended with status {child.returncode}")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
