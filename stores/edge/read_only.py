"""A folder that may not be written, for reading: Edge writes to every shard that it opens, so a copy is opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from stores.edge import catalog
from stores.edge.stop import stop
from stores.errors import StoreBlocked, store_unavailable
from stores.sparse_files import copy_sparse


def may_be_read(folder: Path) -> bool:
    """Whether `folder` is an index's that this user may read and not write."""
    return (folder / catalog.FILE).is_file() and not os.access(folder, os.W_OK)


class ReadOnlyCopy:
    """A private copy of an index folder, for one client."""

    def __init__(self, original: Path) -> None:
        """Blocks. Raises StoreBlocked where there is no room for the copy."""
        self.original = original
        self._root = Path(tempfile.mkdtemp(prefix="sightline-index-"))
        self.folder = self._root / "index"
        try:
            self.folder.mkdir()
            for path in original.iterdir():
                if path.is_dir():
                    shutil.copytree(path, self.folder / path.name, copy_function=copy_sparse)
                elif path.is_file() and path.name.startswith(("catalog", catalog.SHARD_PREFIX)):
                    shutil.copyfile(path, self.folder / path.name)
        except OSError as error:
            self.remove()
            raise store_unavailable(f"a copy of the index {original} in {self._root}", error) from error

    def refusal(self) -> StoreBlocked:
        return StoreBlocked(f"the index {self.original} may not be written, it can only be searched; make it writable")

    def remove(self) -> None:
        """Blocks until its index process has ended."""
        stop(self.folder)
        shutil.rmtree(self._root, ignore_errors=True)
