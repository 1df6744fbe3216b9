"""A consistent copy of the open index folder, for a backup."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from stores.edge import catalog
from stores.edge.index_folder import IndexFolder
from stores.errors import Damaged
from stores.sparse_files import copy_sparse


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
