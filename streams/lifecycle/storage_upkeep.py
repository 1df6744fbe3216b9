"""Keeps the storage within its limits and reports it: beside the erasing, in one worker of a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from stores.edge.client import EdgeIndex
from stores.edge.disk_use import IndexUse
from stores.errors import StoreError, StoreUnavailable
from streams.backends import Backends
from streams.clock import Clock
from streams.errors import Unavailable
from streams.lifecycle.orphans import Orphans
from streams.lifecycle.picture_removal import PictureRemoval
from streams.lifecycle.storage_parts import Part, StorageFolders, disk_part, index_use, log_bytes, warnings
from streams.lifecycle.storage_settings import StorageSettings
from streams.lifecycle.stored_bytes import LISTED_EVERY_SECONDS, StoredBytes
from streams.lifecycle.tenants import Tenants
from streams.lifecycle.trimmer import Trimmer
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs
from streams.metrics import ProcessMetrics
from streams.plan import Plan
from streams.retry import Retry

log = structlog.get_logger()

MEASURED_EVERY_SECONDS = 60.0
HURRIED_SECONDS = 5.0
"""Between two passes while a limit is exceeded and frames are finished: each makes room."""
PAUSE_PER_PASS = 20
"""Such a pause is this many times as long as the pass before it: at most five percent of the time is spent so."""
WARNED_EVERY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class StorageSpec:
    """Whose pictures are kept within which limits, and where they lie."""

    tenant: str
    settings: StorageSettings
    folders: StorageFolders = field(default_factory=StorageFolders)


@dataclass(slots=True)
class StorageUpkeep:
    spec: StorageSpec
    trimmer: Trimmer
    make_orphans: Callable[[str], Orphans]
    """For a tenant."""
    retry: Retry
    clock: Clock
    metrics: ProcessMetrics
    _orphans: dict[str, Orphans] = field(default_factory=dict)
    """By tenant."""
    _due: float = field(default=float("-inf"))
    _warned: float = field(default=float("-inf"))
    _running: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Once every few seconds; it works once a minute, and more often while a limit is exceeded."""
        if self.clock.monotonic() >= self._due:
            await self._run(HURRIED_SECONDS if self.trimmer.waits else LISTED_EVERY_SECONDS)

    async def run_now(self) -> None:
        """At the end of a short run, whenever the last pass was."""
        await self._run(0.0)

    async def _run(self, least_pause_seconds: float) -> None:
        async with self._running:
            began = self.clock.monotonic()
            await self._keep(least_pause_seconds)
            hurried = max(HURRIED_SECONDS, PAUSE_PER_PASS * (self.clock.monotonic() - began))
            self._due = began + (min(hurried, MEASURED_EVERY_SECONDS) if self.trimmer.waits else MEASURED_EVERY_SECONDS)

    async def _keep(self, least_pause_seconds: float) -> None:
        await self.trimmer.run(await self._index_use(), least_pause_seconds=least_pause_seconds)
        for tenant in (self.spec.tenant, *self.trimmer.stored.others):
            orphans = self._orphans.setdefault(tenant, self.make_orphans(tenant))
            await self.retry.forever("storage", orphans.remove, (StoreUnavailable, Unavailable))
        self._report(await self._parts())

    async def _index_use(self) -> IndexUse | None:
        """None also where a rebuild failed: then no point goes for the index's size."""
        use, limit, folder = await index_use(self.spec.folders), self.trimmer.index_limit, self.spec.folders.index
        if use is None or limit is None or folder is None or not limit.wants_rebuild(use):
            return use
        try:
            await _rebuild(folder)
        except StoreError as error:
            log.warning("index_rebuild_failed", error=str(error))
            return None
        limit.is_rebuilt = True
        return await index_use(self.spec.folders)

    async def _parts(self) -> list[Part]:
        return await parts(self.spec, self.trimmer.stored)

    def _report(self, measured: Sequence[Part]) -> None:
        for part in measured:
            self.metrics.storage.labels(part.name).set(part.used_bytes)
            if part.limit_bytes is not None:
                self.metrics.storage_limit.labels(part.name).set(part.limit_bytes)
        now = self.clock.monotonic()
        if (lines := warnings(measured)) and now >= self._warned + WARNED_EVERY_SECONDS:
            self._warned = now
            for line in lines:
                log.warning("storage_nearly_full", what=line)


async def _rebuild(folder: Path) -> None:
    index = EdgeIndex(folder)
    try:
        async for _ in index.compact():
            pass
    finally:
        await index.close()


async def parts(spec: StorageSpec, stored: StoredBytes) -> list[Part]:
    """Log, pictures, index and disk, as far as they lie on this machine. `stored` is listed already."""
    limits, found = spec.settings, []
    if (used := await log_bytes(spec.folders)) is not None:
        found.append(Part("log", used, limits.log_bytes))
    found.append(Part("pictures", stored.total, limits.picture_bytes, stored.day_bytes))
    if (use := await index_use(spec.folders)) is not None:
        reserved = max(0, use.needed_bytes - use.used_bytes)
        found.append(Part("index", use.used_bytes, limits.index_bytes, reserved_bytes=reserved))
    disk = disk_part(spec.folders, stored.day_bytes if limits.picture_bytes is None else None)
    return [*found, disk] if disk else found


def make_upkeep(
    backends: Backends, spec: StorageSpec, plan: Plan, group: str, clock: Clock, retry: Retry, metrics: ProcessMetrics
) -> StorageUpkeep:
    stored = StoredBytes(backends.blobs, spec.tenant, clock, Tenants(backends, spec.tenant))
    removal = PictureRemoval(backends, spec.tenant, UnfinishedBlobs(backends.transport, plan.readers(group)))
    trimmer = Trimmer(backends, spec.settings, stored, removal, retry, clock)
    return StorageUpkeep(spec, trimmer, partial(Orphans, backends, clock), retry, clock, metrics)
