"""A deployment with one worker on a clock that jumps: ingest, process, keep the limits of `[storage]`, erase."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from bench.simulation.clock import JumpingClock, moment
from bench.simulation.ledger import Ledger
from schemas.points import FRAMES, SEMANTIC, VISUAL
from sightline.config import Config, load
from sightline.config_parser import merged
from sightline.ingest_runner import ingest_source
from sightline.wiring.build_worker import build_worker, collections, worker_settings
from sightline.wiring.deletion_copy import request_deletions
from sightline.wiring.idle import left
from sightline.wiring.parts import Parts, declared_topics
from stores.edge import catalog
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.edge.stop import stop
from stores.folder import BlobFolder
from streams.backends import Backends
from streams.lifecycle.erasure import Request
from streams.lifecycle.frame_search import FrameSelection, find_frames
from streams.metrics import Metrics
from streams.plan import Plan
from streams.sources.ingest_counts import Progress
from streams.sources.source import Source
from streams.sources.uuid7 import uuid7
from streams.sqlite.transport import LogSettings, SqliteTransport
from streams.worker.instruments import worker_instruments
from streams.worker.worker import Worker

LEASE_SECONDS = 1e9
"""A worker that stands still while the clock jumps keeps its lease."""
PURGE_SECONDS = 1.0
"""For the minute after which the index process begins to purge deleted points: its clock is the real one."""
PAUSE_SECONDS, START_SECONDS, REST_SECONDS = 0.02, 1.0, 300.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`[storage]`; `kept_hours` is for records on the log, and for the pictures of `hourly_feed`."""

    log_bytes: int
    picture_bytes: int
    index_bytes: int
    kept_hours: float
    hourly_feed: str


def configuration(data: Path, limits: Limits) -> Config:
    tables = {
        "data": str(data),
        "segments": [["decode", "vectors"]],
        "stages": {
            "vectors": {"file": str(Path(__file__).with_name("vectors.py")), "sizes": {SEMANTIC: 64, VISUAL: 64}}
        },
        "storage": {
            "log_bytes": limits.log_bytes,
            "log_hours": limits.kept_hours,
            "picture_bytes": limits.picture_bytes,
            "index_bytes": limits.index_bytes,
            "feeds": {limits.hourly_feed: {"hours": limits.kept_hours}},
        },
        "worker": {"model_set": "year", "commit_seconds": 0.05, "watch_seconds": 0.5},
    }
    config = load(None, tables, {})
    sizes = collections(config, worker_settings(config))[FRAMES].vectors
    return load(None, merged(tables, {"stages": {"vectors": {"sizes": sizes}}}), {})


class Deployment:
    """Between `open` and `close` a worker runs. `refused_writes` counts pictures' sources that had to wait."""

    def __init__(self, config: Config, clock: JumpingClock) -> None:
        self.config, self.clock = config, clock
        self.accepted, self.refused_writes = 0, 0
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        self.parts = parts = await self._opened()
        self.ledger = Ledger(parts.transport, parts.blobs)
        self._backends = Backends(parts.transport, parts.index, parts.blobs)
        instruments = worker_instruments(worker_settings(self.config), Metrics(CollectorRegistry()), self.clock)
        worker = build_worker(parts, 0, instruments=instruments)
        self._working = asyncio.create_task(worker.run())
        self._stack.push_async_callback(asyncio.wait, [self._working])
        self._stack.callback(worker.stop)
        self._resting = await self._most_sleepers(worker)

    async def close(self) -> None:
        await self._stack.aclose()
        await asyncio.to_thread(stop, self.config.data_path / "index")

    async def _opened(self) -> Parts:
        """The parts as the configuration has them, on this clock."""
        data, storage = self.config.data_path, self.config.storage
        settings = LogSettings(max_bytes=storage.log_bytes, lease_seconds=LEASE_SECONDS)
        self._log = SqliteTransport(data / "log.sqlite", settings, boot=self.clock.boot, wall=self.clock.now)
        self._stack.push_async_callback(self._log.close)
        data.mkdir(parents=True, exist_ok=True)
        await self._log.open()
        plan = Plan(self.config.segments)
        await self._log.create(declared_topics(self.config, plan))
        self._index = EdgeIndex(data / "index", EdgeSettings(purge_seconds=PURGE_SECONDS, purge_share=1.0))
        self._stack.push_async_callback(self._index.close)
        blobs = BlobFolder(data / "blobs", wall=self.clock.now)
        self._stack.push_async_callback(blobs.close)
        return Parts(self.config, plan, self._log, self._index, blobs)

    async def ingest(self, source: Source, feed: str) -> None:
        has_waited = False

        def note(progress: Progress) -> None:
            nonlocal has_waited
            if progress.waiting_for and not has_waited:
                has_waited = True
                self.refused_writes += 1
                print(f"{feed} waits for {progress.waiting_for}", file=sys.stderr)

        summary = await ingest_source(self.parts, source, feed, note, self.clock)
        self.accepted += summary.accepted
        await self.ledger.read_accepted()

    async def finish(self) -> None:
        """Return once the worker has processed everything."""
        while await left(self.parts):
            if self._working.done():
                self._working.result()
            if self.clock.sleepers > self._resting:
                self.clock.jump(1.0)  # the pause between two commits
            await asyncio.sleep(0.01)
        await self.ledger.read_ended()

    async def forget(self, frame: str) -> None:
        """Request the erasure of a frame, as `sightline forget` does."""
        now = self.clock.now()
        selection = FrameSelection(tenant=self.config.tenant, frames=frozenset({frame}))
        found = await find_frames(self._backends, selection, now)
        request = Request(id=uuid7(now), selection=selection, requested=moment(now))
        deletions = request.deletions(found.frames)
        await request_deletions(self.config, self.parts.transport, deletions)
        self.ledger.deleted |= {deletion.frame: now for deletion in deletions}

    async def pass_minutes(self, minutes: int) -> None:
        """What a running deployment does at all times: erase, apply retention, measure."""
        for _ in range(minutes):
            self.clock.jump(60.0)
            await self.rest()
        await self._log.drop_old()

    async def rest(self) -> None:
        """Until every periodic task of the worker is asleep again: a jump would look like a day's work to it."""
        await asyncio.sleep(PAUSE_SECONDS)
        async with asyncio.timeout(REST_SECONDS):
            while self.clock.sleepers != self._resting:  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_SECONDS)

    async def purge(self) -> None:
        """Until the index process has rebuilt what holds deleted points: its clock does not jump."""
        async with asyncio.timeout(REST_SECONDS):
            while await self._is_unpurged():  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_SECONDS)

    async def _is_unpurged(self) -> bool:
        known = await asyncio.to_thread(catalog.load, self.config.data_path / "index")
        stored = await self._index.storage()
        return any(each.unpurged for each in known.collections.values()) or any(
            each.compacting for each in stored.values()
        )

    async def indexed(self, frames: list[str]) -> set[str]:
        """Those that have a point."""
        pages = [frames[start : start + 1000] for start in range(0, len(frames), 1000)]
        names = await self._index.collections()
        return {hit.id for name in names for page in pages for hit in await self._index.get(name, page)}

    async def _most_sleepers(self, worker: Worker) -> int:
        """How many tasks of a worker without work are asleep, when none of them is at its periodic work."""
        while worker.health.unready_reasons():  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_SECONDS)
        most, ends = 0, time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            most = max(most, self.clock.sleepers)
            await asyncio.sleep(PAUSE_SECONDS)
        return most
