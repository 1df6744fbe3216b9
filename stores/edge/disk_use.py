"""What an index folder takes on the disk, and what the rebuild of its largest collection takes beside that."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from stores.edge import catalog
from stores.edge.settings import EdgeSettings
from stores.errors import StoreError

SEGMENTS, WRITE_AHEAD_LOG = "segments", "wal"
"""Edge's folders in that of a shard."""
LARGEST_WRITE_AHEAD_LOG = 64 << 20
"""Edge keeps two files of 32 MiB at most."""
LOGGED_SHARE = 1.25
"""Of what points take in segments: so much they take in the write-ahead log of a new shard."""
FLOAT_BYTES = 4
BLOCK_BYTES = 512
"""Unit of `st_blocks`."""


class IndexUse(NamedTuple):
    used_bytes: int
    """Of everything in the folder."""
    lasting_bytes: int
    """The same without the shards of rebuilds that are in progress."""
    rebuild_bytes: int
    """What the largest rebuild takes beside that, until the old shard is removed."""
    shards_made: int = 0
    """The number of the newest shard."""
    oldest_unpurged: int | None = None
    """The number of the oldest shard that may hold deleted points; None: there is none."""

    @property
    def needed_bytes(self) -> int:
        """What the index takes at most as long as nothing is added."""
        return self.lasting_bytes + self.rebuild_bytes


def index_use(folder: Path, optimize_points: int = EdgeSettings().optimize_points) -> IndexUse:
    """Read beside the index process, which is not needed for it; files that vanish meanwhile are left out."""
    used = folder_bytes(folder)
    try:
        known = catalog.load(folder) if folder.exists() else catalog.Catalog()
    except StoreError:
        return IndexUse(used, used, 0)
    shards = {entry.shard: entry for entry in known.collections.values()}
    unfinished = [path for path in folder.glob(f"{catalog.SHARD_PREFIX}*") if _shard_of(path) not in shards]
    unpurged = [_number(name) for name, entry in shards.items() if entry.unpurged]
    return IndexUse(
        used,
        used - sum(map(folder_bytes, unfinished)),
        max((_rebuild_bytes(folder / name, entry, optimize_points) for name, entry in shards.items()), default=0),
        known.shards_made,
        min(unpurged, default=None),
    )


def folder_bytes(folder: Path) -> int:
    """Blocks on the disk of the files below."""
    return sum(size_of(Path(root) / name) for root, _, names in os.walk(folder) for name in names)


def size_of(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_blocks * BLOCK_BYTES
    return 0


def _rebuild_bytes(shard: Path, entry: catalog.Entry, optimize_points: int) -> int:
    """The new shard has the same points. An optimization at its end writes their segments once more."""
    segments, logged = folder_bytes(shard / SEGMENTS), folder_bytes(shard / WRITE_AHEAD_LOG)
    vector_bytes = FLOAT_BYTES * sum(entry.spec.vectors.values())
    may_be_optimized = segments >= optimize_points * vector_bytes
    logged = max(logged, min(int(LOGGED_SHARE * segments), LARGEST_WRITE_AHEAD_LOG))
    return logged + (2 * segments if may_be_optimized else segments)


def _shard_of(path: Path) -> str:
    """A shard's folder, and what lies beside it, have the shard's name before the dot."""
    return path.name.partition(".")[0]


def _number(shard: str) -> int:
    number = shard.removeprefix(catalog.SHARD_PREFIX)
    return int(number) if number.isdecimal() else 0
