"""Backs up a deployment that goes on working: log, index and pictures as of one moment, into a `BackupFolder`.

The order makes the end right:
1. the pictures that there are, which takes longest;
2. the index. While its writes still wait, the log is pinned: a worker writes the points of a frame after its record and
   before it commits its offset, so the index has every point that the log calls done, and none of a frame that the log
   does not know;
3. the log, as it was pinned;
4. the pictures that came meanwhile: every one that the log cites is there. One that was erased or expired meanwhile is
   not;
5. the deletions that were requested since, which a restore requests again;
6. the manifest. What it does not name, erased pictures among it, is then removed from the folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.topics import DELETIONS
from streams.clock import Clock, SystemClock, utc
from streams.lifecycle.backup_folder import BackupFolder
from streams.lifecycle.backup_manifest import BadBackup, Manifest, StoredDeletion, StoredFile
from streams.lifecycle.backup_pictures import PictureCopier
from streams.topic_reader import read_range
from streams.transport import Transport

ANYWAY = "give another folder, or take its place with --replace"
LOST_SHARE = 0.5
"""Of the last backup's pictures: that more are gone since is not retention of one day, but a lost folder."""


class LogPin(Protocol):
    """A log as it was at one moment; its calls block."""

    def copy(self, target: Path) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BackupSource:
    """The parts of a deployment; one that is None lives elsewhere, and has a backup of its own."""

    name: str
    """The data folder's path, to tell deployments apart."""
    version: str
    transport: Transport | None
    pin_log: Callable[[], LogPin] | None
    """Blocks."""
    copy_index: Callable[[Path, Callable[[], Awaitable[None]]], Awaitable[Mapping[str, int]]] | None
    """Calls the second argument while writes wait, after the copy."""
    pictures: Path | None


@dataclass(slots=True)
class BackupReport:
    """What a backup did."""

    manifest: Manifest
    new_pictures: int = 0
    removed_pictures: int = 0
    damaged: list[str] = field(default_factory=list)
    """Pictures that cannot be read, and originals whose content does not fit their name. A good copy of the last backup
    is kept.
    """


async def back_up(
    source: BackupSource, folder: BackupFolder, *, replace: bool = False, clock: Clock | None = None
) -> BackupReport:
    """Make the folder's content a backup of this moment. `replace`: of whatever it holds a backup now.

    Raises BadBackup, and Unavailable, StoreUnavailable, DamagedLog, OSError; the last whole backup is then still there.
    """
    with folder.locked():
        previous = None if replace else folder.manifest()
        await _check_lineage(source, previous)
        if previous is not None:
            await asyncio.to_thread(folder.sweep_objects, previous)
        copier = PictureCopier(source.pictures, folder, (previous.pictures if previous else None) or {})
        await asyncio.to_thread(copier.run)
        ends, records = await _ends(source.transport)
        log, index, points = await _copied(source, folder)
        await asyncio.to_thread(copier.run)
        manifest = Manifest(
            version=source.version,
            made=utc((clock or SystemClock()).now()),
            source=source.name,
            log=log,
            index=index,
            pictures=None if source.pictures is None else copier.stored,
            ends=ends,
            records=records,
            points=points,
            deletions=await _deletions_since(source.transport, ends.get(DELETIONS, [])),
        )
        await asyncio.to_thread(folder.commit, manifest)
        removed = await asyncio.to_thread(folder.sweep, manifest)
    return BackupReport(manifest, len(copier.new), removed, sorted(copier.damaged))


async def _check_lineage(source: BackupSource, previous: Manifest | None) -> None:
    """Raises BadBackup where the folder's backup is of another deployment, or of more than there is now."""
    if previous is None:
        return
    if previous.source != source.name:
        raise BadBackup(f"the folder holds the backup of {previous.source}, this is {source.name}: {ANYWAY}")
    ends, _ = await _ends(source.transport)
    for topic, before in previous.ends.items():
        now = ends.get(topic, [])
        if len(now) < len(before) or any(new < old for new, old in zip(now, before, strict=False)):
            raise BadBackup(
                f"the log ends before the one in the backup ({topic}: {sum(now)} records ever, {sum(before)} in the "
                f"backup): it was lost or replaced by an older one. Restore the backup with `sightline restore`; or "
                f"{ANYWAY}"
            )
    if source.pictures is not None and previous.pictures:
        gone = sum(not (source.pictures / path).exists() for path in previous.pictures)
        if gone > LOST_SHARE * len(previous.pictures):
            raise BadBackup(
                f"{gone} of the {len(previous.pictures)} pictures in the backup are gone from {source.pictures}: if "
                f"they were lost, restore the backup with `sightline restore`; or {ANYWAY}"
            )


async def _ends(transport: Transport | None) -> tuple[dict[str, list[int]], int]:
    """The next offsets by topic, and the number of records."""
    ends: dict[str, list[int]] = {}
    records = 0
    for topic in await transport.topics() if transport else ():
        spans = dict(await transport.ends(topic)) if transport else {}
        ends[topic] = [spans[partition][1] for partition in sorted(spans)]
        records += sum(end - first for first, end in spans.values())
    return ends, records


async def _deletions_since(transport: Transport | None, ends: list[int]) -> list[StoredDeletion]:
    if transport is None or DELETIONS not in await transport.topics():
        return []
    spans = await transport.ends(DELETIONS)
    return [
        StoredDeletion(record.key, record.value, dict(record.headers))
        for partition in sorted(spans)
        async for record in read_range(
            transport, partition, ends[partition.index] if partition.index < len(ends) else 0, spans[partition][1]
        )
    ]


async def _copied(
    source: BackupSource, folder: BackupFolder
) -> tuple[StoredFile | None, dict[str, StoredFile] | None, dict[str, int]]:
    """Log and index of one moment: the stored files, and the points by collection."""
    pins: list[LogPin] = []

    async def pin() -> None:
        if source.pin_log is not None and not pins:
            pins.append(await asyncio.to_thread(source.pin_log))

    index, points, draft = None, dict[str, int](), folder.drafts / "index"
    try:
        if source.copy_index is not None:
            points = dict(await source.copy_index(draft, pin))
            index = await asyncio.to_thread(_stored_files, draft, folder)
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
        await pin()
        return await asyncio.to_thread(_copied_log, pins, folder), index, points
    finally:
        for each in pins:
            each.close()


def _copied_log(pins: Sequence[LogPin], folder: BackupFolder) -> StoredFile | None:
    for pin in pins:
        draft = folder.drafts / "log.sqlite"
        pin.copy(draft)
        stored = folder.store_file(draft)
        draft.unlink()
        return stored
    return None


def _stored_files(draft: Path, folder: BackupFolder) -> dict[str, StoredFile]:
    paths = sorted(path for path in draft.rglob("*") if path.is_file())
    return {path.relative_to(draft).as_posix(): folder.store_file(path) for path in paths}
