"""The folder of a backup: objects named by their SHA-256, pictures under their own paths, and the manifest.

Nothing that the manifest names is changed or removed before the next manifest is in place: a backup that is broken off
at any point leaves the last whole one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from stores.folder_sync import sync_folder
from stores.sparse_files import CHUNK_BYTES, ZEROS, write_sparse
from streams.lifecycle import backup_manifest as manifests
from streams.lifecycle.backup_manifest import BadBackup, Manifest, StoredFile, StoredPicture

A = TypeVar("A")
B = TypeVar("B")
OBJECTS, PICTURES, DRAFTS, LOCK = "objects", "pictures", "drafts", "backup.lock"
OWN_NAMES = frozenset({OBJECTS, PICTURES, DRAFTS, LOCK, manifests.FILE})
PART_BYTES = CHUNK_BYTES
"""Log and index are stored in parts of this size, and only those that changed: a commit changes a few pages."""
THREADS = 8
"""Concurrent syncs: the disk merges them."""


class BackupFolder:
    """Belongs to one process at a time; `locked` makes it so. With `verify`, what is there already is read again."""

    def __init__(self, root: Path, *, verify: bool = False) -> None:
        self.root, self._verify = root, verify
        self._unsynced: set[Path] = set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder if there is none. Raises BadBackup for a foreign folder, and while a backup is made."""
        self.root.mkdir(parents=True, exist_ok=True)
        if foreign := sorted(path.name for path in self.root.iterdir() if path.name not in OWN_NAMES):
            raise BadBackup(f"{self.root} is no backup, it holds {', '.join(foreign[:3])}: give an empty folder")
        with (self.root / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadBackup(f"another backup to {self.root} is running: wait until it has ended") from None
            shutil.rmtree(self.root / DRAFTS, ignore_errors=True)
            (self.root / DRAFTS).mkdir()
            try:
                yield
            finally:
                shutil.rmtree(self.root / DRAFTS, ignore_errors=True)

    @property
    def drafts(self) -> Path:
        """For what is copied here before it is stored."""
        return self.root / DRAFTS

    def manifest(self) -> Manifest | None:
        return manifests.read(self.root)

    def picture(self, path: str) -> Path:
        return self.root / PICTURES / path

    def holds(self, path: Path, size: int, checksum: str) -> bool:
        """Whether a file of the backup is there, as far as its size says; with `verify`, by its content."""
        try:
            if path.stat().st_size != size:
                return False
            return not self._verify or sha256(path.read_bytes()).hexdigest() == checksum
        except FileNotFoundError:
            return False

    def store_file(self, path: Path) -> StoredFile:
        """Store the parts of a file that are not there yet."""
        with path.open("rb") as file, ThreadPoolExecutor(THREADS) as threads:
            parts = list(_mapped(threads, self._store_part, iter(lambda: file.read(PART_BYTES), b"")))
        return StoredFile(path.stat().st_size, parts)

    def store_picture(self, path: str, content: bytes, modified_ns: int) -> StoredPicture:
        self._write(self.picture(path), content, modified_ns)
        return StoredPicture(len(content), sha256(content).hexdigest(), modified_ns)

    def commit(self, manifest: Manifest) -> None:
        """Make everything stored durable, then put the manifest in place."""
        for folder in sorted(self._unsynced):
            sync_folder(folder)
        self._unsynced.clear()
        self._write(self.root / manifests.FILE, manifests.encode(manifest))
        sync_folder(self.root)

    def sweep(self, manifest: Manifest) -> int:
        """Remove what the manifest, which is in place, does not name. Returns the number of removed pictures."""
        self.sweep_objects(manifest)
        pictures = self.root / PICTURES
        return _removed(pictures, manifest.pictures or {}, lambda path: path.relative_to(pictures).as_posix())

    def sweep_objects(self, manifest: Manifest) -> None:
        """Of the log and the index alone. Before a backup: else those of backups that failed, one every night, fill a
        disk for good. Pictures that were copied are used.
        """
        _removed(self.root / OBJECTS, manifest.objects, lambda path: path.name)

    def restore_file(self, stored: StoredFile, target: Path) -> None:
        """Write the file to `target` durably, every part checked. Raises BadBackup naming a part that is damaged."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file, ThreadPoolExecutor(THREADS) as threads:
            for content in _mapped(threads, self._part, stored.parts):
                write_sparse(file, ZEROS if content is None else content)
            file.truncate(stored.bytes)
            file.flush()
            os.fsync(file.fileno())

    def restore_picture(self, path: str, stored: StoredPicture, target: Path) -> None:
        """As `restore_file`."""
        content = _checked(self.picture(path), stored.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(target, content, stored.modified_ns)

    def _object(self, name: str) -> Path:
        return self.root / OBJECTS / name[:2] / name

    def _store_part(self, content: bytes) -> str:
        """The object's name."""
        if content == ZEROS[: len(content)]:
            return ""
        name = sha256(content).hexdigest()
        path = self._object(name)
        if not self.holds(path, len(content), name):
            self._write(path, content)
        return name

    def _part(self, name: str) -> bytes | None:
        return _checked(self._object(name), name) if name else None

    def _write(self, path: Path, content: bytes, modified_ns: int | None = None) -> None:
        """A file at its place is always whole; its folders are synced at `commit`."""
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        above = path.parents[: path.parents.index(self.root) + 1]
        draft = self.drafts / uuid4().hex
        _write_synced(draft, content, modified_ns)
        draft.replace(path)
        self._unsynced.update(above)


def side_by_side(work: Callable[[A], B], entries: Iterable[A]) -> list[B]:
    """`work` on all entries in several threads, which wait for the disk; raises the first error."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(_mapped(threads, work, iter(entries)))


def _mapped(threads: ThreadPoolExecutor, work: Callable[[A], B], entries: Iterable[A]) -> Iterator[B]:
    """In order; few entries are read ahead, because each may be megabytes."""
    begun = []
    for entry in entries:
        begun.append(threads.submit(work, entry))
        if len(begun) > 2 * THREADS:
            yield begun.pop(0).result()
    for future in begun:
        yield future.result()


def _write_synced(path: Path, content: bytes, modified_ns: int | None = None) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if modified_ns is not None:
        os.utime(path, ns=(modified_ns, modified_ns))


def _checked(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadBackup(f"{path} is missing: {REMEDY}") from None
    if sha256(content).hexdigest() != expected:
        raise BadBackup(f"{path} is damaged, it does not have the SHA-256 {expected}: {REMEDY}")
    return content


REMEDY = (
    "nothing was restored; use another copy of the backup, or, while the deployment still runs, make a new one with "
    "`sightline backup TO --verify`"
)


def _removed(folder: Path, kept: Iterable[str], name: Callable[[Path], str]) -> int:
    """Remove the files below `folder` that are not in `kept`, and folders without any."""
    known, removed = set(kept), 0
    for root, _, files in os.walk(folder, topdown=False):
        for path in (Path(root, file) for file in files):
            if name(path) not in known:
                path.unlink(missing_ok=True)
                removed += 1
        if Path(root) != folder and not any(Path(root).iterdir()):
            Path(root).rmdir()
    return removed
