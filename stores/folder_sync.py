"""Syncs of folders: on a POSIX file system a file's name survives a power cut only if its folder is synced too."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderSync:
    """Syncs of one folder for many threads: one sync serves all calls made before it began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._begun = 0

    def sync(self) -> None:
        """Return once a sync that began after this call has ended."""
        covering = self._begun + 1
        with self._lock:
            # Syncs run under the lock, so every one that had begun has ended by now.
            if self._begun < covering:
                self._begun += 1
                sync_folder(self._folder)
