"""How many points have to go so that the embedded index, with its next rebuild, stays within its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from stores.edge.disk_use import IndexUse
from streams.lifecycle.largest_steps import LargestSteps
from streams.lifecycle.storage_settings import GROWTH_SHARE, ROOM_SHARE

log = structlog.get_logger()

INDEX = "index"
JUDGED_SHARE = 0.1
"""Of the points: once this share was removed, the index must be smaller for it."""
LEAST_EFFECT = 1 / 4
"""Of a removed share of the points: so much of the size has to go with it, or it is not the points that take it."""


class _Removal(NamedTuple):
    needed_bytes: int
    points: int
    newest_shard: int


@dataclass(slots=True)
class IndexLimit:
    limit_bytes: int
    _steps: LargestSteps = field(default_factory=LargestSteps)
    _needed: int | None = None
    """At the last look."""
    _first: _Removal | None = None
    """Of the removals since the limit was last kept."""
    _last: _Removal | None = None
    is_rebuilt: bool = False
    """Whether a rebuild has succeeded since this process began."""

    def wants_rebuild(self, use: IndexUse) -> bool:
        """Whether the limit is exceeded, perhaps not by points: a copied folder has lost the holes of its files, and a
        rebuild makes it small again.
        """
        return not self.is_rebuilt and use.needed_bytes > self.limit_bytes

    def is_exceeded(self, use: IndexUse, now: float) -> bool:
        """Whether points have to go now; called at each look. `now` is in seconds of the monotonic clock."""
        self._steps.note({INDEX: use.needed_bytes - (self._needed or use.needed_bytes)}, now)
        self._needed = use.needed_bytes
        if self._needed_soon() <= self.limit_bytes:
            self._first = None
            return False
        return self._is_purged(use)

    def excess(self, use: IndexUse, points: int) -> int:
        """How many of the `points` have to go; 0 where that has not made the index smaller before."""
        if self._first is not None and not _has_shrunk(self._first, use.needed_bytes, points):
            log.warning(
                "index_limit_too_small",
                limit_bytes=self.limit_bytes,
                needed_bytes=use.needed_bytes,
                note="points were removed and the index is no smaller: raise storage.index_bytes",
            )
            return 0
        self._last = _Removal(use.needed_bytes, points, use.shards_made)
        self._first = self._first or self._last
        return math.ceil(points * (1 - self.limit_bytes * (1 - ROOM_SHARE) / self._needed_soon()))

    def _needed_soon(self) -> int:
        """With what may be added until the next look."""
        return (self._needed or 0) + min(self._steps.of(INDEX), int(self.limit_bytes * GROWTH_SHARE))

    def _is_purged(self, use: IndexUse) -> bool:
        """Whether the points that were removed last are out of the files: until then the size says nothing."""
        oldest = use.oldest_unpurged
        return self._last is None or oldest is None or oldest > self._last.newest_shard


def _has_shrunk(first: _Removal, needed_bytes: int, points: int) -> bool:
    removed = 1 - points / first.points if first.points else 0.0
    return removed < JUDGED_SHARE or needed_bytes <= first.needed_bytes * (1 - removed * LEAST_EFFECT)
