"""Retention of pictures and points: by age and by size, per feed and for all, oldest first.

The event on the log goes with the log's own retention. Two trimmers at once do no harm. See
`docs/decisions/084-retention-of-pictures.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import structlog

from stores.blobs import THUMBNAIL
from stores.edge.disk_use import IndexUse
from stores.errors import StoreUnavailable
from streams.backends import Backends
from streams.clock import Clock
from streams.errors import LogFull, Unavailable
from streams.lifecycle.index_limit import IndexLimit
from streams.lifecycle.new_pictures import SETTLE_SECONDS, NewPictures, RecentRecords
from streams.lifecycle.oldest_blobs import AgedBlob, day_start, oldest
from streams.lifecycle.picture_removal import PictureRemoval, Removed
from streams.lifecycle.storage_settings import GROWTH_SHARE, ROOM_SHARE, StorageSettings
from streams.lifecycle.storage_shortage import Shortage
from streams.lifecycle.stored_bytes import ALL, LISTED_EVERY_SECONDS, StoredBytes
from streams.lifecycle.tenants import owner_of
from streams.retry import Retry

log = structlog.get_logger()

LISTED_BLOBS = 8192
"""The oldest blobs of a day that one listing of it gives; to sort twice as many takes the event loop 70 ms."""
REMOVED_BLOBS = 4096
"""Blobs that are removed together."""


@dataclass(slots=True)
class Trimmer:
    """`run` removes what is due; it is called every minute and mostly has nothing to do."""

    backends: Backends
    storage: StorageSettings
    stored: StoredBytes
    removal: PictureRemoval
    retry: Retry
    clock: Clock
    _now: float = 0.0
    """The time of this pass, read before it was asked whether the clock is believed."""
    _doubted: float | None = None
    """When a jump of the wall clock was noticed: from then on nothing goes for its age."""
    index_limit: IndexLimit | None = field(init=False)
    _new: NewPictures = field(init=False)
    _shortage: Shortage = field(init=False)

    def __post_init__(self) -> None:
        limit, unfinished = self.storage.index_bytes, self.removal.unfinished
        self.index_limit = None if limit is None else IndexLimit(limit)
        recent = RecentRecords(unfinished.transport)
        self._new = NewPictures(self.backends.blobs, self.stored.tenant, unfinished, recent, self.retry)
        self._shortage = Shortage(self.clock)

    @property
    def waits(self) -> bool:
        """Whether a limit is exceeded by what may go soon."""
        return self._shortage.passes

    async def run(self, index: IndexUse | None = None, *, least_pause_seconds: float = LISTED_EVERY_SECONDS) -> Removed:
        """`index` is what the index takes on the disk, where it is embedded. Returns what was removed.

        Nothing is done within the pause since the last pass; 0 is at once.
        """
        refresh = partial(self.stored.refresh, least_pause_seconds)
        listed = await self.retry.forever("blobs", refresh, (StoreUnavailable, Unavailable))
        if not listed or not self.storage.limits_pictures:
            return Removed()
        self._shortage.begin()
        self._now, passed = self.clock.now(), self.clock.monotonic()
        is_believed = await self.retry.forever("broker", self.backends.transport.believes_clock, Unavailable)
        self._doubted = None if is_believed else (passed if self._doubted is None else self._doubted)
        if self._doubted is not None and passed < self._doubted + SETTLE_SECONDS:
            return Removed()  # what was put just now looks old
        await self.retry.forever("index", self.removal.finish, (StoreUnavailable, Unavailable))
        removed = await self._remove_old() if is_believed else Removed()
        removed += await self._remove_excess()
        removed += await self._remove_points(index)
        self._shortage.report()
        if removed.blobs or removed.points:
            log.info("retention_removed", blobs=removed.blobs, size_bytes=removed.size_bytes, points=removed.points)
        return removed

    async def _remove_old(self) -> Removed:
        removed = Removed()
        for feed in sorted(self.stored.feeds):
            if (hours := self.storage.hours_of(self._name(feed))) is not None:
                removed += await self._take([feed], before=self._now - 3600 * hours)
        return removed

    async def _remove_excess(self) -> Removed:
        """Each feed to its own limit, then all feeds to theirs; what was erased meanwhile has made room already."""
        limited = sorted(feed for feed in self.stored.feeds if self._name(feed) in self.storage.feeds)
        removed, names = Removed(), (*limited, ALL)
        if not any(map(self._excess, names)):
            return removed
        await self.retry.forever("blobs", self.stored.recount, (StoreUnavailable, Unavailable))
        for name in names:
            if excess := self._excess(name):
                taken = await self._take(self.stored.feeds if name == ALL else [name], size_bytes=excess)
                if (over := self._used(name) - (self._limit(name) or 0)) > 0:
                    self._shortage.note(self._setting(name), over, taken)
                removed += taken
        return removed

    def _setting(self, feed: str) -> str:
        return "storage.picture_bytes" if feed == ALL else f"storage.feeds.{self._name(feed)}.bytes"

    def _limit(self, feed: str) -> int | None:
        return self.storage.picture_bytes if feed == ALL else self.storage.feeds[self._name(feed)].bytes

    def _used(self, feed: str) -> int:
        return self.stored.total if feed == ALL else self.stored.of(feed)

    def _name(self, feed: str) -> str:
        """As [storage.feeds] names it: feeds of several tenants may have the same limits."""
        return owner_of(feed, self.stored.tenant)[1]

    def _excess(self, feed: str) -> int:
        """Bytes to be freed of one feed or ALL: what is added until the next listing has to find room too."""
        if (limit := self._limit(feed)) is None:
            return 0
        over = self._used(feed) + min(self.stored.growth_to_come(feed), int(limit * GROWTH_SHARE)) - limit
        return over + int(limit * ROOM_SHARE) if over > 0 else 0

    async def _remove_points(self, index: IndexUse | None) -> Removed:
        """A rebuild has to find room too: it is what brings the space of deleted points back."""
        limit = self.index_limit
        if limit is None or index is None or not limit.is_exceeded(index, self.clock.monotonic()):
            return Removed()
        excess = limit.excess(index, await self.removal.count_points())
        taken = await self._take(self.stored.feeds, points=excess) if excess else Removed()
        if taken.points < excess:
            self._shortage.note("storage.index_bytes", excess - taken.points, taken)
        return taken

    async def _take(
        self, feeds: Collection[str], *, before: float | None = None, size_bytes: int = 0, points: int = 0
    ) -> Removed:
        """The oldest pictures of the feeds: those before a moment, or until as many bytes or points are free."""
        goal = _Goal(size_bytes, points, takes_all=before is not None)
        removed, until = Removed(), self._now - SETTLE_SECONDS
        until = until if before is None else min(before, until)
        for day in self.stored.days(feeds):
            if day_start(day) >= until or goal.is_reached(removed):
                break
            async for due in self._pages([feed for feed in sorted(feeds) if self.stored.has(feed, day)], day, until):
                removed = await self._remove_first(due, day, goal, removed)
                if goal.is_reached(removed):
                    break
        return removed if before is not None else await self._take_new(feeds, goal, removed)

    async def _take_new(self, feeds: Collection[str], goal: _Goal, removed: Removed) -> Removed:
        """Of what was put lately those that are finished, where the older ones do not suffice."""
        self._new.reset()
        for day in self.stored.days(feeds):
            if goal.is_reached(removed):
                break
            owned = [feed for feed in sorted(feeds) if self.stored.has(feed, day)]
            async for due in self._new.pages(owned, day, self._now):
                removed = await self._remove_first(due, day, goal, removed)
                if goal.is_reached(removed):
                    break
        return removed + Removed(unfinished_bytes=self._new.unfinished_bytes, new_bytes=self._new.new_bytes)

    async def _pages(self, feeds: Sequence[str], day: date, until: float) -> AsyncIterator[Sequence[AgedBlob]]:
        """The day's settled pictures from before a moment, oldest first."""
        after: AgedBlob | None = None
        while True:
            blobs, tenant = self.backends.blobs, self.stored.tenant
            list_page = partial(oldest, blobs, tenant, feeds, day, LISTED_BLOBS, after, paired=True)
            page = await self.retry.forever("blobs", list_page, StoreUnavailable)
            old = [aged for aged in page if aged.moment < until]
            yield [aged for aged in old if _is_settled(aged, self._now)]
            if len(old) < len(page) or len(page) < LISTED_BLOBS:
                return
            after = page[-1]

    async def _remove_first(self, due: Sequence[AgedBlob], day: date, goal: _Goal, removed: Removed) -> Removed:
        """The first of them until the goal is reached; returns what was removed, with what was removed before."""
        start = 0
        while start < len(due) and not goal.is_reached(removed):
            chosen = goal.next(due[start : start + REMOVED_BLOBS], removed)
            removed += await self._remove(chosen, day)
            start += len(chosen)
        return removed

    async def _remove(self, chosen: Sequence[AgedBlob], day: date) -> Removed:
        remove = partial(self.removal.remove, chosen)
        taken = await self.retry.forever("index", remove, (StoreUnavailable, Unavailable, LogFull))
        for aged in taken.removed:
            self.stored.note_removed(aged.feed, day, aged.blob.size_bytes)
        return taken


def _is_settled(aged: AgedBlob, now: float) -> bool:
    """By the time at which it was put, whatever the day in its name: its record may wait over midnight for the log."""
    return abs(aged.blob.modified - now) >= SETTLE_SECONDS


@dataclass(frozen=True, slots=True)
class _Goal:
    """How much has to go, or all."""

    size_bytes: int
    points: int
    takes_all: bool

    def is_reached(self, removed: Removed) -> bool:
        return not self.takes_all and removed.size_bytes >= self.size_bytes and removed.points >= self.points

    def next(self, due: Sequence[AgedBlob], removed: Removed) -> Sequence[AgedBlob]:
        """As many of them as are missing, if all of these may go: a frame has two blobs."""
        chosen, total = len(due) if self.takes_all else 0, removed.size_bytes
        while chosen < len(due) and (total < self.size_bytes or chosen < 2 * (self.points - removed.points)):
            total += due[chosen].blob.size_bytes
            chosen += 1
        if 0 < chosen < len(due) and due[chosen].blob.uri == due[chosen - 1].blob.uri + THUMBNAIL:
            chosen += 1
        return due[:chosen]
