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
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.report import report
from bench.simulation.clock import DAY_SECONDS, JumpingClock, moment
from bench.simulation.deployment import Deployment, Limits, configuration
from bench.simulation.disk import DiskUse, DiskWatch, disk_use, numbers_below
from bench.simulation.pictures import Camera, Pictures, Shelf
from streams.sources.images import from_folder

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CAMERAS = ("door", "yard", "till", "street")
FOLDER = "museum"
UPKEEP_MINUTES = 2
"""Of each day's upkeep; it takes seconds, and what is due now has to be gone after it."""
LIMITS = Limits(
    log_bytes=4 << 20, picture_bytes=24 << 20, index_bytes=16 << 20, kept_hours=168.0, hourly_feed=CAMERAS[0]
)
"""They hold some weeks of the pictures below."""
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
    """How long, and how much."""

    days: int = 365
    frames: int = 10
    """Of each camera, each day."""
    stills: int = 24
    """In the folder."""
    look_days: int = 5
    """Between two looks: at what the disk holds, and for what is left of erased and expired frames."""
    limits: Limits = LIMITS


@dataclass(slots=True)
class Observed:
    disk: list[DiskUse] = field(default_factory=list)
    """At each look, when everything due is done: the same state each time."""
    undeleted: int = 0
    kept_too_long: int = 0


class Year:
    """The days of one deployment, one after the other."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.scale, self.observed = scale, Observed()
        self.data = folder / "data"
        self.clock = JumpingClock(BEGIN)
        self.deployment = Deployment(configuration(self.data, scale.limits), self.clock)
        self._pictures = Pictures()
        self._shelf = Shelf(folder / "shelf", scale.stills, self._pictures)
        self._random = random.Random(7)

    async def run(self) -> None:
        self.watch = DiskWatch(self.data)
        try:
            await self.deployment.open()
            for day in range(1, self.scale.days + 1):
                await self._day(day)
        finally:
            await self.deployment.close()
            self.watch.stop()

    async def _day(self, day: int) -> None:
        """Pictures of the day, an erasure, and on the next morning what is due by then goes."""
        captured = moment(self.clock.now())
        for camera in CAMERAS:
            contents = [self._pictures.picture() for _ in range(self.scale.frames)]
            await self.deployment.ingest(Camera(str(day), contents, captured), camera)
        self._shelf.replace_some()
        await self.deployment.ingest(from_folder(self._shelf.folder), FOLDER)
        await self.deployment.finish()
        await self.deployment.forget(self._random.choice([*self.deployment.ledger.accepted][-100:]))
        await self.deployment.rest()
        self.clock.jump(DAY_SECONDS)
        await self.deployment.pass_minutes(UPKEEP_MINUTES)
        if day % self.scale.look_days == 0 or day == self.scale.days:
            await self.deployment.purge()
            self.observed.disk.append(await asyncio.to_thread(disk_use, self.data))
            await self._look_for_left_over()

    async def _look_for_left_over(self) -> None:
        """Count frames of which something is left that were erased yesterday or before, or are older than their feed
        keeps: the upkeep has run since then.
        """
        ledger, limits, now = self.deployment.ledger, self.scale.limits, self.clock.now()
        due = now - 3600 * limits.kept_hours - 60 * UPKEEP_MINUTES
        deleted = [frame for frame in ledger.accepted.values() if frame.id in ledger.deleted]
        expired = [
            frame for frame in ledger.accepted.values() if frame.feed == limits.hourly_feed and frame.ingested < due
        ]
        remaining = await asyncio.to_thread(numbers_below, self.data)
        indexed = await self.deployment.indexed([frame.id for frame in (*deleted, *expired)])
        for name, chosen in (("undeleted", deleted), ("kept_too_long", expired)):
            left_over = [frame for frame in chosen if frame.number in remaining or frame.id in indexed]
            setattr(self.observed, name, max(getattr(self.observed, name), len(left_over)))


def figures(year: Year) -> dict[str, float]:
    deployment, limits, most = year.deployment, year.scale.limits, year.watch.most
    whole = [each.whole for each in year.observed.disk]
    quarter = max(1, len(whole) // 4)
    return {
        "disk_over_budget": max(
            most.log / limits.log_bytes, most.pictures / limits.picture_bytes, most.index / limits.index_bytes
        ),
        "accepted_lost": len(deployment.ledger.lost()) + deployment.accepted - len(deployment.ledger.accepted),
        "undeleted": year.observed.undeleted,
        "kept_too_long": year.observed.kept_too_long,
        "refused_writes": deployment.refused_writes,
        "growth_last_half": max(whole[-quarter:]) / max(whole[-2 * quarter : -quarter]),
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
    year = Year(folder, scale)
    await year.run()
    return year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-year-") as folder:
        year = asyncio.run(simulate(Path(folder), Scale(days=arguments.days)))
    measured, limits, ledger = figures(year), year.scale.limits, year.deployment.ledger
    report(
        measured,
        days=year.scale.days,
        frames=len(ledger.accepted),
        deleted=len(ledger.deleted),
        picture_bytes=ledger.picture_bytes,
        limits=[limits.log_bytes, limits.picture_bytes, limits.index_bytes],
        most=asdict(year.watch.most),
        disk=[astuple(each) for each in year.observed.disk[:: max(1, len(year.observed.disk) // 24)]],
        seconds=round(time.perf_counter() - began, 1),
    )
    if lines := broken(measured):
        print("; ".join(lines), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
