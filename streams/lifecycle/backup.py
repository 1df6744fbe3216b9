"""Backs up a deployment that goes on working: log, index and pictures as of one moment, into a `BackupFolder`.

The order makes the end right:
1. the pictures that there are, which takes longest;
2. the log. A worker commits an offset only after the points and pictures that it covers are durable;
3. so the index, copied after the log, has every point that the log calls done. Points that are newer are written again,
   under the same ids, when the restored log's frames are processed;
4. the pictures that came meanwhile: every one that the log cites is there. One that was erased or expired meanwhile is
   not;
5. the deletions that were requested since the log's copy, which a restore requests again;
6. the manifest. What it does not name, erased pictures among it, is then removed from the folder.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from msgspec.structs import replace

from schemas.topics import DELETIONS
from stores.blobs import SCHEME, THUMBNAIL, is_blob
from streams.clock import Clock, SystemClock, utc
from streams.lifecycle.backup_folder import BackupFolder, side_by_side
from streams.lifecycle.backup_manifest import BadBackup, Manifest, StoredDeletion, StoredFile, StoredPicture
from streams.topic_reader import read_range
from streams.transport import Transport

ANYWAY = "give another folder, or take its place with --replace"
BLOB_FOLDERS = 3
"""Tenant, feed and day."""
LOST_SHARE = 0.5
"""Of the last backup's pictures: that more are gone since is not retention of one day, but a lost folder."""


@dataclass(frozen=True, slots=True)
class BackupSource:
    """The parts of a deployment; one that is None lives elsewhere, and has a backup of its own."""

    name: str
    """The data folder's path, to tell deployments apart."""
    version: str
    transport: Transport | None
    copy_log: Callable[[Path], None] | None
    copy_index: Callable[[Path], Awaitable[Mapping[str, int]]] | None
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
        copier = _PictureCopier(source.pictures, folder, (previous.pictures if previous else None) or {})
        await asyncio.to_thread(copier.run)
        ends, records = await _ends(source.transport)
        log = await asyncio.to_thread(_copied_log, source, folder)
        index, points = await _copied_index(source, folder)
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


def _copied_log(source: BackupSource, folder: BackupFolder) -> StoredFile | None:
    if source.copy_log is None:
        return None
    draft = folder.drafts / "log.sqlite"
    source.copy_log(draft)
    stored = folder.store_file(draft)
    draft.unlink()
    return stored


async def _copied_index(
    source: BackupSource, folder: BackupFolder
) -> tuple[dict[str, StoredFile] | None, dict[str, int]]:
    """The stored files, and the points by collection."""
    if source.copy_index is None:
        return None, {}
    draft = folder.drafts / "index"
    points = dict(await source.copy_index(draft))
    return await asyncio.to_thread(_stored_files, draft, folder), points


def _stored_files(draft: Path, folder: BackupFolder) -> dict[str, StoredFile]:
    paths = sorted(path for path in draft.rglob("*") if path.is_file())
    return {path.relative_to(draft).as_posix(): folder.store_file(path) for path in paths}


class _PictureCopier:
    """Copies what a blob folder has and the backup lacks, each time it runs; nothing where `root` is None."""

    def __init__(self, root: Path | None, folder: BackupFolder, known: Mapping[str, StoredPicture]) -> None:
        self._root, self._folder, self._known = root, folder, dict(known)
        self.stored: dict[str, StoredPicture] = {}
        self.new: set[str] = set()
        self.damaged: set[str] = set()

    def run(self) -> None:
        if self._root is not None:
            results = side_by_side(partial(self._copy, self._root), _files(self._root))
            self.stored = {path: stored for path, stored in results if stored is not None}
            self._known |= self.stored

    def _copy(self, root: Path, file: Path) -> tuple[str, StoredPicture | None]:
        path = file.relative_to(root).as_posix()
        try:
            found = file.stat()
            if (stored := self._stored(path, found)) is not None:
                return path, replace(stored, modified_ns=found.st_mtime_ns)
            content = _content(file)
        except FileNotFoundError:  # erased meanwhile
            return path, None
        if content is None or (not path.endswith(THUMBNAIL) and sha256(content).hexdigest() != file.name):
            self.damaged.add(path)
            known = self._known.get(path)
            return path, known if known is not None and self._holds(path, known) else None
        self.new.add(path)
        return path, self._folder.store_picture(path, content, found.st_mtime_ns)

    def _stored(self, path: str, found: os.stat_result) -> StoredPicture | None:
        """The picture as the folder has it, perhaps from a backup that was broken off; None: copy it.

        An original's name is its content: one that is put again, as every night's ingest does, has another time only.
        """
        if path.endswith(THUMBNAIL):
            known = self._known.get(path)
            is_same = known is not None and (known.bytes, known.modified_ns) == (found.st_size, found.st_mtime_ns)
            stored = known if is_same else None
        else:
            stored = StoredPicture(found.st_size, path.rpartition("/")[2], found.st_mtime_ns)
        return stored if stored is not None and self._holds(path, stored) else None

    def _holds(self, path: str, stored: StoredPicture) -> bool:
        return self._folder.holds(self._folder.picture(path), stored.bytes, stored.sha256)


def _files(root: Path) -> Iterator[Path]:
    """The blobs of all tenants, also behind links; what is no blob is left out.

    Raises OSError for a folder that cannot be read, BadBackup for a link to nothing: their pictures are not gone.
    """
    for folder, folders, files in os.walk(root, onerror=_raise_unless_gone, followlinks=True):
        path = Path(folder).relative_to(root)
        is_above = len(path.parts) < BLOB_FOLDERS
        folders[:] = sorted(name for name in folders if is_above and not name.startswith("."))
        for name in sorted(files):
            if is_blob(f"{SCHEME}{(path / name).as_posix()}"):
                yield Path(folder, name)
            elif is_above and Path(folder, name).is_symlink():
                raise BadBackup(f"{Path(folder, name)} is a link to a folder that is not there: mount its disk")


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _content(file: Path) -> bytes | None:
    """None where the disk cannot read it. Raises FileNotFoundError, OSError."""
    try:
        return file.read_bytes()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None
