"""A running account of the bytes of pictures, by feed and day; feeds of other tenants are named TENANT/FEED.

Past days change by deletions alone, so only the last two days are listed again; everything is listed once a day, for
what others have removed. Listing takes a small share of the time, however many pictures there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from stores.blobs import BlobStore
from streams.clock import Clock
from streams.lifecycle.largest_steps import LargestSteps
from streams.lifecycle.tenants import Tenants, owner_of

ALL = ""
"""No feed has this name."""
LISTED_EVERY_SECONDS = 60.0
PAUSE_PER_LISTING = 50
"""A pause is this many times as long as the listing before it: at most two percent of the time is spent so."""
OPEN_DAYS = 2
"""Days of a feed to which pictures may be added: today, and yesterday around midnight."""
FULL_LISTING_SECONDS = 86_400.0
RECOUNT_SECONDS = 3600.0


@dataclass(slots=True)
class StoredBytes:
    blobs: BlobStore
    tenant: str
    clock: Clock
    tenants: Tenants | None = None
    """Names the tenants that are counted beside that one."""
    others: Sequence[str] = ()
    """As of the last listing."""
    costly_pause_seconds: float = 0.0
    """Until the next listing, from the last one on, at least: by what it took."""
    _days: dict[tuple[str, date], int] = field(default_factory=dict)
    """Of every day that the store has, also of those whose pictures are gone: they are not listed as new ones."""
    _steps: LargestSteps = field(default_factory=LargestSteps)
    _listed: float | None = None
    _listed_all: float = float("-inf")

    @property
    def total(self) -> int:
        return sum(self._days.values())

    def growth_to_come(self, feed: str = ALL) -> int:
        """Bytes that may be added until the next listing: as many as from one to the next within the last day."""
        return self._steps.of(feed)

    def _by_feed(self) -> dict[str, int]:
        sizes = {ALL: self.total}
        for (feed, _), size in self._days.items():
            sizes[feed] = sizes.get(feed, 0) + size
        return sizes

    def of(self, feed: str) -> int:
        return sum(size for (name, _), size in self._days.items() if name == feed)

    @property
    def feeds(self) -> set[str]:
        return {feed for (feed, _), size in self._days.items() if size}

    def days(self, feeds: Iterable[str]) -> list[date]:
        """Days on which one of the feeds has pictures, oldest first."""
        chosen = set(feeds)
        return sorted({day for (feed, day), size in self._days.items() if size and feed in chosen})

    def has(self, feed: str, day: date) -> bool:
        return self._days.get((feed, day), 0) > 0

    @property
    def day_bytes(self) -> int:
        """Bytes of the last whole day that has pictures, else of the only one: the rate of a day."""
        days: dict[date, int] = {}
        for (_, day), size in self._days.items():
            days[day] = days.get(day, 0) + size
        whole = sorted(day for day, size in days.items() if size)[-2:]
        return days[whole[0]] if whole else 0

    def note_removed(self, feed: str, day: date, size_bytes: int) -> None:
        if (feed, day) in self._days:
            self._days[feed, day] = max(0, self._days[feed, day] - size_bytes)

    async def refresh(self, least_pause_seconds: float = LISTED_EVERY_SECONDS) -> bool:
        """List what may have changed, if it is time to: at once with a pause of 0. Returns whether it was.

        Raises StoreUnavailable, Unavailable.
        """
        began = self.clock.monotonic()
        pause = max(least_pause_seconds, self.costly_pause_seconds) if least_pause_seconds else 0.0
        if self._listed is not None and began < self._listed + pause:
            return False
        before, first = self._by_feed(), self._listed is None
        await self._list(everything=began >= self._listed_all + FULL_LISTING_SECONDS)
        self._listed = now = self.clock.monotonic()
        if not first:
            self._steps.note({feed: size - before.get(feed, 0) for feed, size in self._by_feed().items()}, now)
        self.costly_pause_seconds = PAUSE_PER_LISTING * (now - began)
        return True

    async def recount(self) -> None:
        """List everything, unless it was done lately: others remove pictures of past days too. Raises
        StoreUnavailable, Unavailable."""
        if self.clock.monotonic() >= self._listed_all + RECOUNT_SECONDS:
            await self._list(everything=True)

    async def _list(self, *, everything: bool) -> None:
        self.others = await self.tenants.others() if self.tenants else ()
        days = dict(await self.blobs.days(self.tenant))
        for tenant in self.others:
            days |= {f"{tenant}/{feed}": own for feed, own in (await self.blobs.days(tenant)).items()}
        existing = {(feed, day) for feed, own in days.items() for day in own}
        recent = {(feed, day) for feed, own in days.items() for day in sorted(own)[-OPEN_DAYS:]}
        recent |= existing - self._days.keys()
        sizes = {key: size for key, size in self._days.items() if key in existing}
        for feed, day in existing if everything else recent:
            sizes[feed, day] = 0
            async for blob in self.blobs.list(*owner_of(feed, self.tenant), day):
                sizes[feed, day] += blob.size_bytes
        self._days = sizes
        if everything:
            self._listed_all = self.clock.monotonic()
