"""The index folder's catalog: which collection lies in which shard folder, and the aliases of collections.

It is written whole, beside the old one, and renamed into place, so a killed process leaves the old or the new one; a
copy is written in the same way after it. A shard folder that the catalog does not name is a leftover of unfinished
work, and is removed.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct

from stores.edge.file_sums import WAY_OUT, path_of, remove_flushed
from stores.errors import Damaged, WrongLayout
from stores.folder_sync import sync_folder
from stores.index import CollectionSpec

FILE = "catalog.json"
COPY = "catalog.copy.json"
FORMAT = 1
SHARD_PREFIX = "shard-"
_log = logging.getLogger("stores.edge")
OPENING = "opening"
"""Names the shard that is being opened: it is to blame if the process crashes meanwhile."""
CRASHED = ".crashed"
OWN_FILES = (FILE, COPY, f"{FILE}.new", OPENING, "index.lock", "index.log")


class Entry(Struct, frozen=True):
    spec: CollectionSpec
    shard: str
    """The shard's folder, below the index folder."""
    unpurged: bool = True
    """Whether its files may hold bytes of points that were deleted; True for shards of earlier versions."""
    sealed: bool = False
    """Whether all points have checksums; False for shards of earlier versions."""


class Catalog(Struct, frozen=True):
    collections: dict[str, Entry] = {}
    aliases: dict[str, str] = {}
    shards_made: int = 0
    """The number of shard folders ever named: a name is never used twice."""
    format: int = FORMAT
    checksum: int | None = None
    """Of this record itself, with None here; None in the files of earlier versions."""


def load(folder: Path) -> Catalog:
    """Read the catalog of `folder`, or its copy where it is damaged; an empty folder has an empty one.

    Raises WrongLayout for a foreign folder, Damaged when both files are.
    """
    if not (folder / FILE).exists() and not (folder / COPY).exists():
        _refuse_foreign(folder)
        return Catalog()
    try:
        return _read(folder / FILE)
    except Damaged as error:
        if not (folder / COPY).exists():
            raise
        catalog = _read(folder / COPY)
        _log.warning("%s; its copy is intact and replaces it", error)
        return catalog


def save(folder: Path, catalog: Catalog) -> None:
    """Replace the catalog durably, then its copy. Raises OSError; then the old one is still in its place."""
    marked = msgspec.structs.replace(catalog, checksum=_checksum(catalog))
    content = msgspec.json.format(msgspec.json.encode(marked))
    _replace(folder, FILE, content)
    try:
        _replace(folder, COPY, content)
    except OSError as error:
        # The new catalog counts. An old copy would name shards that are about to be removed.
        _log.warning("%s has no copy: %s", folder / FILE, error)
        with suppress(OSError):
            (folder / COPY).unlink()


def renew_copy(folder: Path, catalog: Catalog) -> None:
    """Make both files again where they differ: one was damaged, or a process was killed between the two."""
    if any((folder / name).exists() for name in (FILE, COPY)) and not _is_copied(folder):
        save(folder, catalog)


def _is_copied(folder: Path) -> bool:
    with suppress(OSError):
        return (folder / FILE).read_bytes() == (folder / COPY).read_bytes()
    return False


def _replace(folder: Path, name: str, content: bytes) -> None:
    new = folder / f"{FILE}.new"
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / name)
    sync_folder(folder)


def _read(path: Path) -> Catalog:
    try:
        catalog = msgspec.json.decode(path.read_bytes(), type=Catalog)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"{path} is damaged, it is not a catalog of this index: {error}; {WAY_OUT}") from error
    if catalog.format != FORMAT:
        raise WrongLayout(f"{path} has format {catalog.format}, this version reads {FORMAT}")
    bare = msgspec.structs.replace(catalog, checksum=None)
    if catalog.checksum not in (None, _checksum(bare)):
        raise Damaged(f"{path} is damaged, its checksum is wrong; {WAY_OUT}")
    return bare


def remove_leftovers(folder: Path, catalog: Catalog) -> None:
    """Remove shards that the catalog does not name; only the process that holds the lock may."""
    named = {entry.shard for entry in catalog.collections.values()}
    for path in folder.glob(f"{SHARD_PREFIX}*"):
        if path.name.partition(".")[0] not in named:
            remove_shard(path) if path.is_dir() else path.unlink(missing_ok=True)


def remove_shard(path: Path) -> None:
    """Remove a shard's folder and what lies beside it."""
    shutil.rmtree(path, ignore_errors=True)
    path_of(path).unlink(missing_ok=True)
    remove_flushed(path)
    crash_mark(path).unlink(missing_ok=True)


def crash_mark(shard: Path) -> Path:
    """The file that exists if the process that opened `shard` crashed: it is not opened again."""
    return shard.with_name(shard.name + CRASHED)


def _checksum(catalog: Catalog) -> int:
    return crc32(msgspec.json.encode(catalog, order="deterministic"))


def _refuse_foreign(folder: Path) -> None:
    """A folder without a catalog may hold only what a process wrote that was killed before it wrote one."""
    foreign = [
        path.name
        for path in folder.iterdir()
        if path.name not in OWN_FILES and not path.is_socket() and not path.name.startswith(SHARD_PREFIX)
    ]
    if foreign:
        raise WrongLayout(f"{folder} is no index folder, it holds {', '.join(sorted(foreign)[:3])}: give an empty one")
