"""Restores a deployment from a `BackupFolder`: every file is checked before anything is put in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from schemas import codec, topics
from schemas.errors import SchemaError
from stores.folder_sync import sync_folder
from stores.pages import pages
from streams.lifecycle.backup_folder import BackupFolder, side_by_side
from streams.lifecycle.backup_manifest import (
    BadBackup,
    Manifest,
    StoredDeletion,
    StoredFile,
    StoredPicture,
)
from streams.lifecycle.deletions import Deletions, deletion_record
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Transport

RECORDS_PER_WRITE = 256


@dataclass(frozen=True, slots=True)
class RestoreTargets:
    """Where the parts go; None where the configuration keeps a part elsewhere."""

    log: Path | None
    index: Path | None
    pictures: Path | None
    log_side_files: tuple[Path, ...] = ()
    """Files that belong to a log at `log`, and go aside with it."""


def restore(folder: BackupFolder, targets: RestoreTargets, aside: str | None) -> tuple[Manifest, list[Path]]:
    """Restore the last whole backup; the manifest, and where former parts are now.

    `aside` is the suffix that former parts get; None: there must be none. Blocks. Raises BadBackup and OSError; then
    nothing is changed.
    """
    manifest = folder.manifest()
    if manifest is None:
        raise BadBackup(f"there is no whole backup in {folder.root}")
    parts = _parts(folder, manifest, targets)
    occupied = [path for path in (*(part.target for part in parts), *targets.log_side_files) if _is_occupied(path)]
    if occupied and aside is None:
        raise BadBackup(
            f"{', '.join(map(str, occupied))}: there is data already; restore into another folder with --data, or "
            "move it aside with --replace"
        )
    for part in parts:
        _discard(part.draft)
        part.write(part.draft)
    return manifest, _put_in_place(parts, targets, aside)


@dataclass(frozen=True, slots=True)
class _Part:
    target: Path
    write: Callable[[Path], None]

    @property
    def draft(self) -> Path:
        return self.target.with_name(f".{self.target.name}.restoring")


def _parts(folder: BackupFolder, manifest: Manifest, targets: RestoreTargets) -> list[_Part]:
    """In the order in which they are put in place: with the log, the deployment is whole."""
    parts = []
    if manifest.pictures is not None:
        parts.append(_part("pictures", targets.pictures, partial(_write_pictures, folder, manifest.pictures)))
    if manifest.index is not None:
        parts.append(_part("index", targets.index, partial(_write_files, folder, manifest.index)))
    if manifest.log is not None:
        parts.append(_part("log", targets.log, partial(folder.restore_file, manifest.log)))
    return parts


def _part(name: str, target: Path | None, write: Callable[[Path], None]) -> _Part:
    if target is None:
        raise BadBackup(f"the backup holds the {name}, which this configuration keeps elsewhere: use the one it had")
    return _Part(target, write)


def _write_files(folder: BackupFolder, files: Mapping[str, StoredFile], draft: Path) -> None:
    draft.mkdir(parents=True)
    for path, stored in files.items():
        folder.restore_file(stored, draft / path)
    _sync_folders(draft)


def _write_pictures(folder: BackupFolder, pictures: Mapping[str, StoredPicture], draft: Path) -> None:
    draft.mkdir(parents=True)

    def write(path: str) -> None:
        folder.restore_picture(path, pictures[path], draft / path)

    side_by_side(write, pictures)
    _sync_folders(draft)


def _sync_folders(root: Path) -> None:
    for below, _, _ in os.walk(root):
        sync_folder(Path(below))


def _is_occupied(target: Path) -> bool:
    """A file, or a folder that holds anything."""
    return target.is_file() or (target.is_dir() and any(target.iterdir()))


def _put_in_place(parts: Sequence[_Part], targets: RestoreTargets, aside: str | None) -> list[Path]:
    former = [*targets.log_side_files, *(part.target for part in reversed(parts))]
    moved = [path.rename(path.with_name(path.name + (aside or ""))) for path in former if _is_occupied(path)]
    for part in parts:
        if part.target.is_dir():
            part.target.rmdir()
        part.draft.rename(part.target)
        sync_folder(part.target.parent)
    return moved


def _discard(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)


async def former_deletions(transport: Transport) -> list[StoredDeletion]:
    """What a log that is about to be replaced says of deletions. Raises Unavailable."""
    if topics.DELETIONS not in await transport.topics():
        return []
    return [
        StoredDeletion(record.key, record.value, dict(record.headers))
        async for record in read_topic(transport, topics.DELETIONS)
    ]


async def request_again(transport: Transport, deletions: Sequence[StoredDeletion]) -> int:
    """Request the deletions that the restored log does not know, so that workers erase what the restore brought back.

    Returns their number. Raises Unavailable, LogFull.
    """
    known = Deletions(transport)
    await known.catch_up()
    latest = {stored.key.decode(errors="replace"): stored for stored in deletions}
    again = [record for frame, stored in latest.items() if (record := _request(frame, stored, known)) is not None]
    for page in pages(again, RECORDS_PER_WRITE):
        await transport.publish(page)
    return sum(record.value is not None for record in again)


def _request(frame: str, stored: StoredDeletion, known: Deletions) -> NewRecord | None:
    """A deletion that was reported as done is a new request: its blobs are back. A taken-back one is taken back."""
    if stored.value is None:
        return NewRecord(topics.DELETIONS, stored.key, None, stored.headers) if frame in known else None
    if frame in known:
        return None
    try:
        return deletion_record(replace(codec.decode_deletion(stored.value, stored.headers), erased=None))
    except SchemaError:
        return None  # names no frame
