"""A consistent copy of the open index folder, for a backup."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from stores.edge import catalog
from stores.edge.index_folder import IndexFolder
from stores.errors import Damaged

BLOCK_BYTES = 1 << 16
ZEROS = bytes(BLOCK_BYTES)


async def snapshot(folder: IndexFolder, target: Path) -> dict[str, int]:
    """Copy every shard and the catalog to `target`, in place of what it holds; the points by collection.

    The caller holds writes back meanwhile. `target` can be opened as an index folder of its own. Raises OSError, and
    Damaged where the index is: a copy of damage must not take the place of a good one.
    """
    for error in folder.broken.values():
        raise error
    if warning := folder.warning():
        raise Damaged(warning)
    folder.flush()
    points = {name: collection.points for name, collection in folder.collections.items()}
    await asyncio.to_thread(_copy, folder.folder, target)
    return points


def _copy(source: Path, target: Path) -> None:
    """The catalog comes last: a folder with one is whole."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    named = catalog.load(source)
    for entry in named.collections.values():
        shutil.copytree(source / entry.shard, target / entry.shard, copy_function=copy_sparse)
    catalog.save(target, named)


def copy_sparse(source: str, target: str) -> str:
    """Copy a file; blocks of zeros take no space. Edge's files are mapped ahead, and mostly such blocks when new."""
    with Path(source).open("rb") as reading, Path(target).open("wb") as writing:
        while block := reading.read(BLOCK_BYTES):
            if block == ZEROS[: len(block)]:
                writing.seek(len(block), os.SEEK_CUR)
            else:
                writing.write(block)
        writing.truncate()
    return target
