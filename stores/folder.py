"""Blobs in a folder: the embedded default."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from schemas.identity import check_name
from stores.blobs import SCHEME, StoredBlob, check_content, is_blob, resolve
from stores.errors import Missing, store_unavailable
from stores.folder_sync import FolderSync, sync_folder

T = TypeVar("T")
THREADS = 8
"""Concurrent syncs: the disk merges them, so eight cost little more than one; the threads wait and do not compute."""
PARTIAL = ".partial"
"""Folder of blobs being written; no tenant's name begins with a dot."""
PAGE_BLOBS = 1000
"""Blobs that a listing reads at once: some ten milliseconds of a thread."""
PUT_ATTEMPTS = 4
"""A day's folder goes with its last blob, and may do so while another process puts one: then it is made again."""
BLOCK_BYTES = 512
"""Unit of `st_blocks`."""
KNOWN_FOLDERS = 10_000
"""A process that runs for long puts into a new one of each feed every day."""
LEFTOVER_SECONDS = 3600.0
"""A partial file of this age was left by a killed process."""


class BlobFolder:
    """A `BlobStore` below `root` (created if missing), laid out as the URIs are: TENANT/FEED/DAY/SHA256.

    A blob is written and synced in another folder and renamed to its path; then the folders above it are synced. So a
    blob survives a power cut once `put` has returned, and a file at a blob's path is always whole. The folder of a day
    is removed with its last blob.
    """

    def __init__(self, root: Path, *, wall: Callable[[], float] = time.time) -> None:
        """`wall` gives seconds since the epoch."""
        self._root, self._wall = root, wall
        self._partial = root / PARTIAL
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._folders: dict[Path, FolderSync] = {}

    async def put(self, tenant: str, uri: str, content: bytes) -> None:
        path = resolve(uri, tenant)
        await self._run(lambda: self._write(path, uri, content))

    async def get(self, tenant: str, uri: str) -> bytes:
        path = resolve(uri, tenant)
        return await self._run(lambda: self._read(path, uri))

    async def delete(self, tenant: str, uri: str, *, put_before: float | None = None) -> None:
        path = self._root / resolve(uri, tenant)
        await self._run(lambda: self._remove(path, put_before))

    async def delete_many(self, tenant: str, uris: Sequence[str]) -> None:
        names: dict[str, list[str]] = {}
        for uri in uris:
            folder, _, name = resolve(uri, tenant).rpartition("/")
            names.setdefault(folder, []).append(name)
        shares = ((self._root / folder, blobs[n::THREADS]) for folder, blobs in names.items() for n in range(THREADS))
        await asyncio.gather(*(self._run(partial(_unlink, folder, share)) for folder, share in shares if share))
        await asyncio.gather(*(self._run(partial(self._sync_removal, self._root / folder)) for folder in names))

    async def days(self, tenant: str) -> Mapping[str, Sequence[date]]:
        check_name("tenant", tenant)
        return await self._run(lambda: _days(self._root / tenant))

    async def list(self, tenant: str, feed: str = "", day: date | None = None) -> AsyncIterator[StoredBlob]:
        check_name("tenant", tenant)
        if feed:
            check_name("feed", feed)
        # One day of a feed is listed alone: a year has a thousand of them.
        for name, days in ({feed: [day]} if feed and day else await self.days(tenant)).items():
            for each in days:
                if feed in ("", name) and day in (None, each):
                    blobs = _blobs(self._root, f"{tenant}/{name}/{each}")
                    while page := await self._run(partial(_page, blobs)):
                        for blob in page:
                            yield blob

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, action: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, action)
        except OSError as error:
            raise store_unavailable(f"the blob folder {self._root}", error) from error

    def _write(self, path: str, uri: str, content: bytes) -> None:
        check_content(uri, content)
        target = self._root / path
        for attempt in range(1, PUT_ATTEMPTS + 1):
            try:
                self._put(target, content)
                break
            except FileNotFoundError:
                self._folders.pop(target.parent, None)
                if attempt == PUT_ATTEMPTS:
                    raise

    def _put(self, target: Path, content: bytes) -> None:
        """Raises FileNotFoundError where the folder was removed meanwhile, with its last blob."""
        folder = self._folder(target.parent)
        if not _touched(target, now := self._wall()):
            unfinished = self._partial / uuid4().hex
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.utime(file.fileno(), (now, now))
                os.fsync(file.fileno())
            unfinished.rename(target)
        # An existing blob is synced too: its writer may not have reached this line.
        folder.sync()

    def _read(self, path: str, uri: str) -> bytes:
        try:
            content = (self._root / path).read_bytes()
        except FileNotFoundError:
            raise Missing(f"no blob {uri}") from None
        check_content(uri, content)
        return content

    def _folder(self, folder: Path) -> FolderSync:
        """The `FolderSync` of `folder`, which is created durably with all folders above it up to the root."""
        if (sync := self._folders.get(folder)) is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._partial.mkdir(exist_ok=True)
            self._remove_leftovers()
            if len(self._folders) >= KNOWN_FOLDERS:
                self._folders.clear()
            for above in (folder, *folder.relative_to(self._root).parents):
                sync_folder(self._root / above)
            sync = self._folders.setdefault(folder, FolderSync(folder))
        return sync

    def _remove(self, path: Path, put_before: float | None) -> None:
        with suppress(FileNotFoundError):
            if put_before is None or path.stat().st_mtime < put_before:
                path.unlink()
        self._sync_removal(path.parent)

    def _sync_removal(self, folder: Path) -> None:
        """An erased blob does not return after a power cut. The folder of a missing file is synced too."""
        with suppress(FileNotFoundError):
            sync_folder(folder)
        with suppress(OSError):  # it has other blobs, or was removed by another process
            folder.rmdir()
            self._folders.pop(folder, None)

    def _remove_leftovers(self) -> None:
        for path in self._partial.iterdir():
            # Another thread or process may have renamed it meanwhile.
            with suppress(FileNotFoundError):
                if self._wall() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()


def _unlink(folder: Path, names: Sequence[str]) -> None:
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=opened)
    finally:
        os.close(opened)


def _touched(path: Path, now: float) -> bool:
    """Mark an existing blob as put now; False if there is none."""
    try:
        os.utime(path, (now, now))
    except FileNotFoundError:
        return False
    return True


def _days(folder: Path) -> dict[str, list[date]]:
    """By feed, below a tenant's folder; what is named otherwise is not ours."""
    found: dict[str, list[date]] = {}
    for feed in _subfolders(folder):
        days = []
        for day in _subfolders(feed):
            with suppress(ValueError):
                days.append(date.fromisoformat(day.name))
        if days:
            found[feed.name] = sorted(days)
    return found


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def _blobs(root: Path, folder: str) -> Iterator[StoredBlob]:
    """Those of one feed and day; one that is deleted meanwhile is left out."""
    with suppress(FileNotFoundError), os.scandir(root / folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if is_blob(uri := f"{SCHEME}{folder}/{entry.name}") and entry.is_file():
                    state = entry.stat()
                    yield StoredBlob(uri, max(state.st_size, state.st_blocks * BLOCK_BYTES), state.st_mtime)


def _page(blobs: Iterator[StoredBlob]) -> list[StoredBlob]:
    return [*islice(blobs, PAGE_BLOBS)]
