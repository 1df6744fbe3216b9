"""Backups of a deployment that is written and erased meanwhile: each one, restored, comes to the right end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stores.edge.disk_use import folder_bytes
from streams.lifecycle.backup import BackupReport, BackupSource, back_up
from streams.lifecycle.backup_folder import BackupFolder
from streams.lifecycle.restore import RestoreTargets, request_again, restore
from streams.sqlite.backup import PinnedLog
from tests.faults.erasing_suite import deletion, exists, work, worker
from tests.support.damage import all_faults
from tests.support.deployment import FRAMES, Deployment, deployed, fated, identity, running, until
from tests.support.edge_folder import edge_folder
from tests.support.fault_stages import DIMENSION

BACKUPS = 5
BATCH = 4
STEP = 12
"""Frames accepted between two backups, at least."""


def source(here: Deployment) -> BackupSource:
    return BackupSource(
        name=str(here.folder),
        version="0",
        transport=here.transport,
        pin_log=partial(PinnedLog, here.transport.path),
        copy_index=here.index.snapshot,
        pictures=here.folder / "blobs",
    )


@asynccontextmanager
async def restored(backup: Path, folder: Path) -> AsyncIterator[Deployment]:
    """The backup in a folder of its own, opened; its deletions are requested."""
    targets = RestoreTargets(folder / "log.sqlite", folder / "index", folder / "blobs")
    manifest, _ = await asyncio.to_thread(restore, BackupFolder(backup), targets, None)
    assert folder_bytes(folder / "index") < 16 << 20, "a new shard is a megabyte, and fifty without its holes"
    with edge_folder(folder / "index"):
        async with deployed(folder, fresh=False) as there:
            await request_again(there.transport, manifest.deletions)
            yield there


class Load:
    """Frames that are published as fast as workers process them, and what was acknowledged so far."""

    def __init__(self, here: Deployment) -> None:
        self._here = here
        self.accepted: list[str] = []

    async def publish(self) -> None:
        for first in itertools.count(step=BATCH):
            fates = ["invalid" if number % 7 == 3 else "ok" for number in range(first, first + BATCH)]
            records = [fated(fate, number=first + place) for place, fate in enumerate(fates)]
            await self._here.publish(records)
            self.accepted += map(identity, records)
            await until(self._has_room)

    async def reaches(self, frames: int, working: asyncio.Task[None]) -> None:
        await until(lambda: len(self.accepted) > frames, working)

    async def _has_room(self) -> bool:
        lag = await self._here.transport.group_lag("sightline.decode", ["frames.raw"])
        return sum(lag.values()) < 4 * BATCH


@pytest.fixture
async def here(tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path / "live", index_folder=index_folder) as deployment:
        yield deployment


async def test_backups_under_load_come_to_the_right_end(here: Deployment, tmp_path: Path) -> None:
    """Each of five is restored."""
    load, counts = Load(here), []
    async with running(worker(here)) as working:
        publishing = asyncio.create_task(load.publish())
        await load.reaches(STEP, working)
        for number in range(BACKUPS):
            counts.append(len(load.accepted))
            await back_up(source(here), BackupFolder(tmp_path / f"backup-{number}"))
            await load.reaches(counts[-1] + STEP, working)
        publishing.cancel()
    for number, least in enumerate(counts):
        async with restored(tmp_path / f"backup-{number}", tmp_path / f"restored-{number}") as there:
            await work(there)
            assert await all_faults(there) == {}, number
            assert (await there.findings()).accepted >= least
            enriched = (await there.enriched()).keys()
            assert set(load.accepted[:least]) <= enriched | (await there.letters()).keys()
            hits = await there.index.search(FRAMES, "semantic", np.ones(DIMENSION, np.float32), limit=1000)
            assert {hit.id for hit in hits} == enriched


async def test_one_folder_holds_the_last_of_five_backups(here: Deployment, tmp_path: Path) -> None:
    load, reports = Load(here), list[BackupReport]()
    async with running(worker(here)) as working:
        publishing = asyncio.create_task(load.publish())
        for number in range(BACKUPS):
            await load.reaches(STEP * number, working)
            reports.append(await back_up(source(here), BackupFolder(tmp_path / "backup")))
        publishing.cancel()
    pictures = [len(report.manifest.pictures or {}) for report in reports]
    assert [report.new_pictures for report in reports] == [
        now - before for before, now in itertools.pairwise([0, *pictures])
    ]
    async with restored(tmp_path / "backup", tmp_path / "restored") as there:
        await work(there)
        assert not (await there.findings()).faults


async def test_what_is_deleted_after_the_log_was_copied_stays_deleted(here: Deployment, tmp_path: Path) -> None:
    """The deletion comes between the copies of index and log, and is obeyed there at once."""
    records = [fated("ok", number=number) for number in range(3)]
    await here.publish(records)
    await work(here)
    first = identity(records[0])
    image = (await here.enriched())[first].image

    async def copy_index(folder: Path, pin_log: Callable[[], Awaitable[None]]) -> Mapping[str, int]:
        points = await here.index.snapshot(folder, pin_log)
        await here.publish([deletion(first)])
        await work(here, until_erased=[first])
        return points

    backup = source(here)
    changed = BackupSource(
        backup.name,
        backup.version,
        backup.transport,
        backup.pin_log,
        copy_index,
        backup.pictures,
    )
    await back_up(changed, BackupFolder(tmp_path / "backup"))
    assert not list((tmp_path / "backup").rglob(image.sha256 + "*")), "its picture is not in the backup"
    async with restored(tmp_path / "backup", tmp_path / "restored") as there:
        await work(there, until_erased=[first])
        findings = await there.findings()
        assert (findings.faults, findings.deleted) == ({}, 1)
        assert not await exists(there, image.uri)


async def test_a_backup_that_fails_leaves_the_last_one(here: Deployment, tmp_path: Path) -> None:
    await here.publish([fated("ok", number=1)])
    await work(here)
    await back_up(source(here), BackupFolder(tmp_path / "backup"))
    await here.publish([fated("ok", number=2)])
    await work(here)

    class Full(PinnedLog):
        def copy(self, target: Path) -> None:
            super().copy(target)
            raise OSError(28, "No space left on device")

    backup = source(here)
    broken = BackupSource(
        backup.name,
        backup.version,
        backup.transport,
        partial(Full, here.transport.path),
        backup.copy_index,
        backup.pictures,
    )
    left = tmp_path / "backup" / "objects" / "ab" / "abcdef"
    left.parent.mkdir(exist_ok=True)
    left.write_text("of another backup that failed: one of every night would fill the disk")
    with pytest.raises(OSError, match="No space left"):
        await back_up(broken, BackupFolder(tmp_path / "backup"))
    assert not left.exists()
    async with restored(tmp_path / "backup", tmp_path / "restored") as there:
        findings = await there.findings()
        assert (findings.faults, findings.enriched) == ({}, 1)
    report = await back_up(source(here), BackupFolder(tmp_path / "backup"))
    assert report.manifest.points["frames-scripted"] == 2
