"""A simulated year of a deployment on a small disk, in minutes: nothing accepted is lost, nothing is kept too long.

    python -m bench.year [--days N]

Four cameras take pictures every day, and a folder of stills, of which some are new and some are gone, is ingested
again every night. A worker decodes them and makes points with vectors of their hashes. Every day a person has a frame
erased. Disk space is bounded by `[storage]`, in bytes for log, pictures and index, and one camera's pictures are kept
for a week only. The clock stands on real time while work is in progress, and jumps when everything is processed.

Exits with 1 when a bound is broken, unlike the other programs: none of its figures is a time.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from prometheus_client import CollectorRegistry

from bench.ledger import Ledger
from bench.report import report
from bench.simulation import DAY_SECONDS, Camera, JumpingClock, Pictures, disk_bytes, moment, numbers_below
from schemas.points import FRAMES, SEMANTIC, VISUAL
from sightline.config import Config, load
from sightline.config_parser import merged
from sightline.ingest_runner import ingest_source
from sightline.wiring.build_worker import build_worker, collections, worker_settings
from sightline.wiring.deletion_copy import append_copy
from sightline.wiring.idle import left
from sightline.wiring.parts import Parts, declared_topics, opened_blobs
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.edge.stop import stop
from streams.backends import Backends
from streams.lifecycle.deletions import publish_deletions
from streams.lifecycle.erasure import Request
from streams.lifecycle.frame_search import FrameSelection, find_frames
from streams.metrics import Metrics
from streams.plan import Plan
from streams.sources.images import from_folder
from streams.sources.ingest_counts import Progress
from streams.sources.source import Source
from streams.sources.uuid7 import uuid7
from streams.sqlite.transport import LogSettings, SqliteTransport
from streams.worker.instruments import worker_instruments
from streams.worker.worker import Worker

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CAMERAS = ("door", "yard", "till", "street")
FOLDER = "museum"
LEASE_SECONDS = 1000 * DAY_SECONDS
"""A worker that stands still while the clock jumps keeps its lease."""
PURGE_SECONDS = 2.0
"""The index process has a clock of its own, on which a day takes about a second: this is two days."""
LOOK_SECONDS = 0.2
UPKEEP_MINUTES, UPKEEP_PAUSE_SECONDS = 4, 0.02
WHOLE_DAYS = 2
"""Retention goes by a picture's day, and lists past days once a day."""
START_SECONDS, REST_SECONDS = 1.0, 60.0
BOUNDS = {
    "disk_over_budget": 1.05,
    "accepted_lost": 0,
    "undeleted": 0,
    "kept_too_long": 0,
    "refused_writes": 0,
    "growth_last_half": 1.02,
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How long, and how much; the budgets hold some weeks of it."""

    days: int = 365
    parts: int = 1
    """Of a day: the cameras take pictures, everything is processed, and the clock jumps to the next part."""
    frames: int = 10
    """Of each camera, in each part."""
    stills: int = 24
    """In the folder."""
    kept_hours: float = 168.0
    """Of records on the log, and of one camera's pictures."""
    log_bytes: int = 3 << 20
    picture_bytes: int = 24 << 20
    index_bytes: int = 8 << 20

    @property
    def budget_bytes(self) -> int:
        return self.log_bytes + self.picture_bytes + self.index_bytes


@dataclass(slots=True)
class Observed:
    """Figures as they stand; `disk` holds the bytes of log, pictures and index at the end of each part of a day."""

    disk: list[tuple[int, int, int]] = field(default_factory=list)
    most_bytes: int = 0
    """The most that they took together at any moment."""
    refused_writes: int = 0
    undeleted: int = 0
    kept_too_long: int = 0
    accepted: int = 0
    made_picture_bytes: int = 0
    """Of all originals that were accepted."""


def configuration(folder: Path, scale: Scale) -> Config:
    tables = {
        "data": str(folder / "data"),
        "segments": [["decode", "vectors"]],
        "stages": {
            "vectors": {"file": str(Path(__file__).with_name("vectors.py")), "sizes": {SEMANTIC: 64, VISUAL: 64}}
        },
        "storage": {
            "log_bytes": scale.log_bytes,
            "log_hours": scale.kept_hours,
            "picture_bytes": scale.picture_bytes,
            "index_bytes": scale.index_bytes,
            "feeds": {CAMERAS[0]: {"hours": scale.kept_hours}},
        },
        "worker": {"model_set": "year", "commit_seconds": 0.05, "watch_seconds": 0.5},
    }
    config = load(None, tables, {})
    sizes = collections(config, worker_settings(config))[FRAMES].vectors
    return load(None, merged(tables, {"stages": {"vectors": {"sizes": sizes}}}), {})


class Year:
    """The days of one deployment, one after the other."""

    def __init__(self, folder: Path, scale: Scale, clock: JumpingClock) -> None:
        self.folder, self.scale, self.clock = folder, scale, clock
        self.config = configuration(folder, scale)
        self.observed = Observed()
        self._pictures = Pictures()
        self._random = random.Random(7)
        self._shelf = folder / "shelf"
        self._shelf.mkdir()

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            parts = await self._opened(stack)
            self._backends = Backends(parts.transport, parts.index, parts.blobs)
            self._parts, self.ledger = parts, Ledger(parts.transport, parts.blobs)
            self._metrics = Metrics(CollectorRegistry())
            instruments = worker_instruments(worker_settings(self.config), self._metrics, self.clock)
            worker = build_worker(parts, 0, instruments=instruments)
            working = asyncio.create_task(worker.run())
            stack.push_async_callback(asyncio.wait, [working])
            stack.callback(worker.stop)
            looking = asyncio.create_task(self._look_at_disk())
            stack.callback(looking.cancel)
            self._resting = await self._most_sleepers(worker)
            for day in range(self.scale.days):
                await self._day(day, working)
            await self._look_for_deleted()

    async def _opened(self, stack: AsyncExitStack) -> Parts:
        """The parts as the configuration has them, on this clock."""
        path = self.config.data_path / "log.sqlite"
        settings = LogSettings(max_bytes=self.config.storage.log_bytes, lease_seconds=LEASE_SECONDS)
        transport = SqliteTransport(path, settings, boot=self.clock.boot, wall=self.clock.now)
        stack.push_async_callback(transport.close)
        await transport.open()
        self._transport = transport
        plan = Plan(self.config.segments)
        await transport.create(declared_topics(self.config, plan))
        edge = EdgeSettings(purge_seconds=PURGE_SECONDS, purge_share=1.0)
        self._index = index = EdgeIndex(self.config.data_path / "index", edge)
        stack.push_async_callback(index.close)
        blobs = await stack.enter_async_context(opened_blobs(self.config))
        return Parts(self.config, plan, transport, index, blobs)

    async def _day(self, day: int, working: asyncio.Task[None]) -> None:
        for part in range(self.scale.parts):
            captured = moment(self.clock.now())
            for camera in CAMERAS:
                contents = [self._pictures.picture() for _ in range(self.scale.frames)]
                await self._ingest(Camera(f"{day}-{part}", contents, captured), camera)
            if part == 0:
                self._change_shelf()
                await self._ingest(from_folder(self._shelf), FOLDER)
            await self.ledger.read_accepted()
            await self._finished(working)
            if part == self.scale.parts - 1:
                await self._delete()
            await self._rested()
            self.clock.jump(DAY_SECONDS / self.scale.parts)
            await self._upkeep()
            self.observed.disk.append(self._disk())
        if day % 30 == 29:
            await self._look_for_deleted()

    async def _ingest(self, source: Source, feed: str) -> None:
        waited = False

        def note(progress: Progress) -> None:
            nonlocal waited
            if progress.waiting_for and not waited:
                waited = True
                self.observed.refused_writes += 1
                print(f"{feed} waits for {progress.waiting_for}", file=sys.stderr)

        summary = await ingest_source(self._parts, source, feed, note, self.clock)
        self.observed.accepted += summary.accepted

    def _change_shelf(self) -> None:
        """A museum's night: a tenth of the stills is replaced."""
        stills = sorted(self._shelf.iterdir())
        for still in self._random.sample(stills, len(stills) // 10):
            still.unlink()
        for _ in range(self.scale.stills - len(list(self._shelf.iterdir()))):
            content = self._pictures.picture()
            (self._shelf / f"{self._pictures.made:08d}.jpg").write_bytes(content)

    async def _finished(self, working: asyncio.Task[None]) -> None:
        """Until the worker has processed everything."""
        while await left(self._parts):
            if working.done():
                working.result()
            if self.clock.sleepers > self._resting:
                self.clock.jump(1.0)  # the pause between two commits
            await asyncio.sleep(0.01)
        await self.ledger.read_ended()

    async def _delete(self) -> None:
        """Request the erasure of one frame of the last ones, as `sightline forget` does."""
        frame = self._random.choice([*self.ledger.accepted][-100:])
        now = self.clock.now()
        selection = FrameSelection(tenant=self.config.tenant, frames=frozenset({frame}))
        found = await find_frames(self._backends, selection, now)
        request = Request(id=uuid7(now), selection=selection, requested=moment(now))
        deletions = request.deletions(found.frames)
        await append_copy(self.config, deletions)
        await publish_deletions(self._backends.transport, deletions)
        self.ledger.deleted |= {deletion.frame: now for deletion in deletions}

    async def _upkeep(self) -> None:
        """Some minutes of what a running deployment does at all times: erase, apply retention, measure."""
        for _ in range(UPKEEP_MINUTES):
            self.clock.jump(60.0)
            await self._rested()
        await self._transport.drop_old()

    async def _most_sleepers(self, worker: Worker) -> int:
        """How many tasks of a worker without work are asleep, when none of them is at its periodic work."""
        while worker.health.unready_reasons():  # noqa: ASYNC110
            await asyncio.sleep(UPKEEP_PAUSE_SECONDS)
        most, ends = 0, time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            most = max(most, self.clock.sleepers)
            await asyncio.sleep(UPKEEP_PAUSE_SECONDS)
        return most

    async def _rested(self) -> None:
        """Until every periodic task of the worker is asleep again: a jump would look like a day's work to it."""
        await asyncio.sleep(UPKEEP_PAUSE_SECONDS)
        async with asyncio.timeout(REST_SECONDS):
            while self.clock.sleepers != self._resting:  # noqa: ASYNC110
                await asyncio.sleep(UPKEEP_PAUSE_SECONDS)

    async def _look_at_disk(self) -> None:
        """Also while something is being done."""
        while True:
            self.observed.most_bytes = max(self.observed.most_bytes, sum(await asyncio.to_thread(self._disk)))
            await asyncio.sleep(LOOK_SECONDS)

    def _disk(self) -> tuple[int, int, int]:
        data = self.config.data_path
        log = sum(disk_bytes(data / f"log.sqlite{suffix}") for suffix in ("", "-wal", "-shm"))
        return log, disk_bytes(data / "blobs"), disk_bytes(data / "index")

    async def _look_for_deleted(self) -> None:
        """Count the frames that were deleted, or are older than their feed keeps, and of which something is left."""
        due = self.clock.now() - 3600 * self.scale.kept_hours - DAY_SECONDS
        frames = self.ledger.accepted.values()
        deleted = [frame for frame in frames if self.ledger.deleted.get(frame.id, due) < due]
        expired = [
            frame for frame in frames if frame.feed == CAMERAS[0] and frame.ingested < due - WHOLE_DAYS * DAY_SECONDS
        ]
        await self._purged()
        remaining = await asyncio.to_thread(numbers_below, self.config.data_path)
        indexed = await self._indexed([frame.id for frame in (*deleted, *expired)])
        for name, chosen in (("undeleted", deleted), ("kept_too_long", expired)):
            left_over = [frame for frame in chosen if frame.number in remaining or frame.id in indexed]
            setattr(self.observed, name, max(getattr(self.observed, name), len(left_over)))

    async def _purged(self) -> None:
        """Until the index process has had the time that it takes, on its own clock."""
        await asyncio.sleep(2 * PURGE_SECONDS)
        while any(stored.compacting for stored in (await self._index.storage()).values()):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    async def _indexed(self, frames: list[str]) -> set[str]:
        """Those that have a point."""
        pages = [frames[start : start + 1000] for start in range(0, len(frames), 1000)]
        names = await self._parts.index.collections()
        return {hit.id for name in names for page in pages for hit in await self._parts.index.get(name, page)}


def figures(year: Year) -> dict[str, float]:
    observed, ledger = year.observed, year.ledger
    used = [sum(each) for each in observed.disk]
    quarter = max(1, len(used) // 4)
    return {
        "disk_over_budget": max(observed.most_bytes, *used) / year.scale.budget_bytes,
        "accepted_lost": len(ledger.lost()) + observed.accepted - len(ledger.accepted),
        "undeleted": observed.undeleted,
        "kept_too_long": observed.kept_too_long,
        "refused_writes": observed.refused_writes,
        "growth_last_half": median(used[-quarter:]) / median(used[-2 * quarter : -quarter]),
    }


def broken(measured: Mapping[str, float]) -> list[str]:
    """A line for each bound that does not hold."""
    return [
        f"{name} is {measured[name]:g}, not at most {bound:g}"
        for name, bound in BOUNDS.items()
        if measured[name] > bound
    ]


async def simulate(folder: Path, scale: Scale) -> Year:
    """The days, one after the other, in `folder`; the index process is ended at the end."""
    year = Year(folder, scale, JumpingClock(BEGIN))
    try:
        await year.run()
    finally:
        await asyncio.to_thread(stop, year.config.data_path / "index")
    return year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-year-") as folder:
        year = asyncio.run(simulate(Path(folder), Scale(days=arguments.days)))
    measured = figures(year)
    report(
        measured,
        days=year.scale.days,
        frames=len(year.ledger.accepted),
        deleted=len(year.ledger.deleted),
        picture_bytes=year.ledger.picture_bytes,
        budget=[year.scale.log_bytes, year.scale.picture_bytes, year.scale.index_bytes],
        disk=year.observed.disk[:: max(1, len(year.observed.disk) // 24)],
        seconds=round(time.perf_counter() - began, 1),
    )
    if lines := broken(measured):
        print("; ".join(lines), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
