"""Restores a deployment from a `BackupFolder`: every file is checked before anything is put in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from schemas import codec, topics
from schemas.errors import SchemaError
from schemas.events import Deletion
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


def restore(
    folder: BackupFolder,
    targets: RestoreTargets,
    aside: str | None,
    before_placing: Callable[[Manifest], None] = lambda _: None,
) -> tuple[Manifest, list[Path]]:
    """Restore the last whole backup; the manifest, and where former parts are now.

    `aside` is the suffix that former parts get; None: there must be none. `before_placing` is called once every file is
    checked and written beside its place. Blocks. Raises BadBackup and OSError; then nothing is changed.
    """
    manifest = folder.manifest()
    if manifest is None:
        raise BadBackup(f"there is no whole backup in {folder.root}")
    parts = _parts(folder, manifest, targets)
    former = [part.target for part in reversed(parts)] + [*(targets.log_side_files if manifest.log else ())]
    _check_room(former, aside)
    try:
        for part in parts:
            _discard(part.draft)
            part.write(part.draft)
        before_placing(manifest)
        _check_room(former, aside)
        return manifest, _put_in_place(parts, former, aside)
    except BaseException:
        for part in parts:
            _discard(part.draft)
        raise


def _check_room(former: Sequence[Path], aside: str | None) -> None:
    """Raises BadBackup where something is in the way."""
    occupied = [path for path in former if _is_occupied(path)]
    if occupied and aside is None:
        raise BadBackup(
            f"{', '.join(map(str, occupied))}: there is data already; restore into another folder with --data, or "
            "move it aside with --replace"
        )
    if mounts := [path for path in former if path.is_mount()]:
        raise BadBackup(
            f"{', '.join(map(str, mounts))}: a disk is mounted there, and cannot be moved aside; restore into another "
            "folder with --data, then move what it holds"
        )


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


def _put_in_place(parts: Sequence[_Part], former: Sequence[Path], aside: str | None) -> list[Path]:
    """What is moved first is the log: without one, no process starts on what is half in place."""
    renamed: list[tuple[Path, Path]] = []

    def rename(path: Path, target: Path) -> Path:
        path.rename(target)
        renamed.append((path, target))
        sync_folder(target.parent)
        return target

    try:
        moved = [rename(path, path.with_name(path.name + (aside or ""))) for path in former if _is_occupied(path)]
        for part in parts:
            if part.target.is_dir():
                part.target.rmdir()
            rename(part.draft, part.target)
    except OSError:
        for path, target in reversed(renamed):
            target.rename(path)
        raise
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
    again = [record for each in _latest(deletions) if (record := _request(each, known)) is not None]
    for page in pages(again, RECORDS_PER_WRITE):
        await transport.publish(page)
    return sum(record.value is not None for record in again)


def requested_since(deletions: Sequence[StoredDeletion]) -> list[Deletion]:
    """Those that were not taken back, as requests that are not done."""
    decoded = (_decoded(stored) for stored in _latest(deletions))
    return [deletion for deletion in decoded if deletion is not None]


def _latest(deletions: Sequence[StoredDeletion]) -> Iterable[StoredDeletion]:
    """The last of each frame."""
    return {stored.key: stored for stored in deletions}.values()


def _request(stored: StoredDeletion, known: Deletions) -> NewRecord | None:
    """A deletion that was reported as done is a new request: its blobs are back. A taken-back one is taken back."""
    is_known = stored.key.decode(errors="replace") in known
    if stored.value is None:
        return NewRecord(topics.DELETIONS, stored.key, None, stored.headers) if is_known else None
    deletion = None if is_known else _decoded(stored)
    return None if deletion is None else deletion_record(deletion)


def _decoded(stored: StoredDeletion) -> Deletion | None:
    """None for one that is taken back, or names no frame."""
    if stored.value is None:
        return None
    try:
        return replace(codec.decode_deletion(stored.value, stored.headers), erased=None)
    except SchemaError:
        return None
