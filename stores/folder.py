"""Blobs in a folder: the embedded default."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from stores.blobs import check_content, resolve
from stores.errors import Missing, store_unavailable
from stores.folder_sync import FolderSync, sync_folder

T = TypeVar("T")
THREADS = 8
"""Concurrent syncs: the disk merges them, so eight cost little more than one; the threads wait and do not compute."""
PARTIAL = ".partial"
"""Folder of blobs being written; no tenant's name begins with a dot."""
LEFTOVER_SECONDS = 3600.0
"""A partial file of this age was left by a killed process."""


class BlobFolder:
    """A `BlobStore` below `root` (created if missing), laid out as the URIs are: TENANT/FEED/DAY/SHA256.

    A blob is written and synced in another folder and renamed to its path; then the folders above it are synced. So a
    blob survives a power cut once `put` has returned, and a file at a blob's path is always whole.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / PARTIAL
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._folders: dict[Path, FolderSync] = {}

    async def put(self, tenant: str, uri: str, content: bytes) -> None:
        path = resolve(uri, tenant)
        await self._run(lambda: self._write(path, uri, content))

    async def get(self, tenant: str, uri: str) -> bytes:
        path = resolve(uri, tenant)
        return await self._run(lambda: self._read(path, uri))

    async def delete(self, tenant: str, uri: str) -> None:
        path = self._root / resolve(uri, tenant)
        await self._run(lambda: _remove(path))

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
        folder = self._folder(target.parent)
        if not target.exists():
            partial = self._partial / uuid4().hex
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(target)
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
            for above in (folder, *folder.relative_to(self._root).parents):
                sync_folder(self._root / above)
            sync = self._folders.setdefault(folder, FolderSync(folder))
        return sync

    def _remove_leftovers(self) -> None:
        for path in self._partial.iterdir():
            # Another thread or process may have renamed it meanwhile.
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()


def _remove(path: Path) -> None:
    """Remove durably: an erased blob does not return after a power cut. A missing file's folder is synced too."""
    path.unlink(missing_ok=True)
    if path.parent.exists():
        sync_folder(path.parent)
