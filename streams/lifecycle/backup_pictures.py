"""The pictures of a backup: files that never change, copied while others come and go."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from msgspec.structs import replace

from stores.blobs import SCHEME, THUMBNAIL, is_blob
from streams.lifecycle.backup_folder import BackupFolder, side_by_side
from streams.lifecycle.backup_manifest import BadBackup, StoredPicture

BLOB_FOLDERS = 3
"""Tenant, feed and day."""


class PictureCopier:
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
                now, known = replace(stored, modified_ns=found.st_mtime_ns), self._known.get(path)
                return path, known if known == now else now  # one of a million, not two
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
