"""The index folder's catalog: which collection lies in which shard folder, and the aliases of collections.

It is written whole, beside the old one, and renamed into place, so a killed process leaves the old or the new one. A
shard folder that the catalog does not name is a leftover of unfinished work, and is removed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
from msgspec import Struct

from stores.errors import WrongLayout
from stores.folder_sync import sync_folder
from stores.index import CollectionSpec

FILE = "catalog.json"
FORMAT = 1
SHARD_PREFIX = "shard-"
OWN_FILES = (FILE, f"{FILE}.new", "index.lock", "index.log")


class Entry(Struct, frozen=True):
    spec: CollectionSpec
    shard: str
    """The shard's folder, below the index folder."""


class Catalog(Struct, frozen=True):
    collections: dict[str, Entry] = {}
    aliases: dict[str, str] = {}
    shards_made: int = 0
    """The number of shard folders ever named: a name is never used twice."""
    format: int = FORMAT


def load(folder: Path) -> Catalog:
    """Read the catalog of `folder`; an empty folder has an empty one. Raises WrongLayout for a foreign folder."""
    path = folder / FILE
    if not path.exists():
        _refuse_foreign(folder)
        return Catalog()
    try:
        catalog = msgspec.json.decode(path.read_bytes(), type=Catalog)
    except msgspec.MsgspecError as error:
        raise WrongLayout(f"{path} is not a catalog of this index: {error}") from error
    if catalog.format != FORMAT:
        raise WrongLayout(f"{path} has format {catalog.format}, this version reads {FORMAT}")
    for name, entry in catalog.collections.items():
        if not (folder / entry.shard).is_dir():
            raise WrongLayout(f"{path} names {entry.shard} for collection {name!r}, and there is no such folder")
    return catalog


def save(folder: Path, catalog: Catalog) -> None:
    """Replace the catalog durably."""
    new = folder / f"{FILE}.new"
    with new.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(catalog)))
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / FILE)
    sync_folder(folder)


def remove_leftovers(folder: Path, catalog: Catalog) -> None:
    """Remove shard folders that the catalog does not name; only the process that holds the lock may."""
    named = {entry.shard for entry in catalog.collections.values()}
    for path in folder.glob(f"{SHARD_PREFIX}*"):
        if path.name not in named:
            shutil.rmtree(path, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """A folder without a catalog may hold only what a process wrote that was killed before it wrote one."""
    foreign = [
        path.name
        for path in folder.iterdir()
        if path.name not in OWN_FILES and not path.is_socket() and not path.name.startswith(SHARD_PREFIX)
    ]
    if foreign:
        raise WrongLayout(f"{folder} is no index folder, it holds {', '.join(sorted(foreign)[:3])}: give an empty one")
