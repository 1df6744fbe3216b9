"""Removes pictures with the points that cite them: points first, so that nothing that a search finds lacks its picture.

Kept frames stay, and frames that the plan has not finished.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas import points
from schemas.retention import Trimmed
from stores.index import Filter, Hit, Match
from stores.pages import pages, point_pages
from streams.backends import Backends
from streams.clock import utc
from streams.lifecycle.kept_frames import KeptFrames, TrimmedFeeds, trimmed_record
from streams.lifecycle.oldest_blobs import AgedBlob
from streams.lifecycle.tenants import owner_of
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs

DELETED_FRAMES = 256
"""Frames whose points one call deletes."""
DELETED_AT_ONCE = 8
LATE_SECONDS = 600.0
"""A frame may be ingested somewhat later than its picture was put, where another producer puts pictures itself."""


@dataclass(frozen=True, slots=True)
class Removed:
    removed: Sequence[AgedBlob] = ()
    blobs: int = 0
    size_bytes: int = 0
    points: int = 0
    """Of frames, with those of their regions gone too."""
    kept_bytes: int = 0
    """Of what was due and stays because someone keeps it."""
    unfinished_bytes: int = 0
    """Of what was due and stays because the plan has not finished it."""
    new_bytes: int = 0
    """Of what was put lately and stays because no record cites it yet."""

    def __add__(self, other: Removed) -> Removed:
        """The sums, without the list: it may be long."""
        return Removed(
            (),
            self.blobs + other.blobs,
            self.size_bytes + other.size_bytes,
            self.points + other.points,
            self.kept_bytes + other.kept_bytes,
            self.unfinished_bytes + other.unfinished_bytes,
            self.new_bytes + other.new_bytes,
        )


@dataclass(slots=True)
class PictureRemoval:
    backends: Backends
    tenant: str
    unfinished: UnfinishedBlobs
    _late: dict[str, set[str]] = field(default_factory=dict)
    """Frames that are worked on again although their pictures are gone, with these."""
    _kept: KeptFrames = field(init=False)
    _trimmed: TrimmedFeeds = field(init=False)

    def __post_init__(self) -> None:
        self._kept, self._trimmed = KeptFrames(self.backends.transport), TrimmedFeeds(self.backends.transport)

    async def count_points(self) -> int:
        """Points of frames, of every model set. Raises StoreUnavailable."""
        collections = await self.backends.index.collections()
        return sum(count for name, count in collections.items() if points.holds_frames(name))

    async def remove(self, due: Sequence[AgedBlob]) -> Removed:
        """Remove these pictures, as far as they may go. Raises StoreUnavailable, Unavailable; then call it again."""
        if not due:
            return Removed()
        await self._kept.catch_up()
        await self.unfinished.update()
        kept = {uri for entry in self._kept.frames.values() for uri in entry.uris}
        needed: set[str] = set()
        last: dict[str, float] = {}
        for aged in due:
            last[aged.feed] = max(aged.moment, last.get(aged.feed, 0.0))
        citing: dict[str, set[str]] = {}
        for feed, moment in last.items():
            async for hit in self._points(feed, utc(moment + LATE_SECONDS)):
                cited = {str(hit.payload.get(name) or "") for name in ("uri", "thumbnail")} - {""}
                if hit.id in self._kept.frames:
                    kept |= cited
                elif any(uri in self.unfinished for uri in cited):
                    needed |= cited
                else:
                    citing[hit.id] = cited
        staying = [aged for aged in due if aged.blob.uri in needed or aged.blob.uri in self.unfinished]
        needed |= {aged.blob.uri for aged in staying}
        free = [aged for aged in due if aged.blob.uri not in needed and aged.blob.uri not in kept]
        gone = {aged.blob.uri for aged in free}
        removed = await self._remove(
            free, sorted(frame for frame, cited in citing.items() if not cited.isdisjoint(gone))
        )
        return replace(
            removed,
            kept_bytes=sum(aged.blob.size_bytes for aged in due if aged.blob.uri in kept),
            unfinished_bytes=sum(aged.blob.size_bytes for aged in staying if aged.blob.uri not in kept),
        )

    async def _remove(self, free: Sequence[AgedBlob], frames: Sequence[str]) -> Removed:
        if not free:
            return Removed()
        await self._tell(free)
        await self._delete_points(frames)
        again = await self.unfinished.arrivals()  # a replay, or another group: these get their points again
        free = [aged for aged in free if aged.blob.uri not in again]
        for aged_page in pages(free, DELETED_AT_ONCE):
            await asyncio.gather(*(self._delete(aged) for aged in aged_page))
        arrived = await self.unfinished.arrivals()
        for aged in free:
            if (frame := arrived.get(aged.blob.uri)) is not None:
                self._late.setdefault(frame, set()).add(aged.blob.uri)
        await self.finish()
        return Removed(free, len(free), sum(aged.blob.size_bytes for aged in free), len(frames))

    async def finish(self) -> None:
        """Delete points that a worker made while their pictures were removed. Raises StoreUnavailable, Unavailable."""
        if self._late:
            await self.unfinished.update()
            await self._delete_points(sorted(self._late))
            self._late = {frame: uris for frame, uris in self._late.items() if any(u in self.unfinished for u in uris)}

    async def _delete_points(self, frames: Sequence[str]) -> None:
        for name in await self.backends.index.collections():
            if points.is_ours(name):
                for page in pages(frames, DELETED_FRAMES):
                    chosen = Match(field="frame", any_of=tuple(page))
                    await self.backends.index.delete(name, Filter(must=(chosen,)))
        await self.backends.index.flush()

    async def _delete(self, aged: AgedBlob) -> None:
        """Unless it was put again since it was listed."""
        later = math.nextafter(aged.blob.modified, math.inf)
        tenant, _ = owner_of(aged.feed, self.tenant)
        await self.backends.blobs.delete(tenant, aged.blob.uri, put_before=later)

    async def _tell(self, free: Iterable[AgedBlob]) -> None:
        """Up to when pictures may be gone, before they are: a reader that misses one learns why."""
        await self._trimmed.catch_up()
        last: dict[tuple[str, str], datetime] = {}
        for aged in free:
            owner = owner_of(aged.feed, self.tenant)
            moments = (utc(aged.moment) + timedelta(milliseconds=1), last.get(owner), self._trimmed.before(*owner))
            last[owner] = max(moment for moment in moments if moment is not None)
        news = [(owner, before) for owner, before in last.items() if before != self._trimmed.before(*owner)]
        entries = [Trimmed(tenant=tenant, feed=feed, before=before) for (tenant, feed), before in news]
        if entries:
            await self.backends.transport.publish([trimmed_record(entry) for entry in entries])

    async def _points(self, feed: str, until: datetime) -> AsyncIterator[Hit]:
        """Points of the feed's frames that were ingested until then. Older ones are gone, so there are few."""
        tenant, name = owner_of(feed, self.tenant)
        where = Filter(
            must=(
                Match(field="tenant", any_of=(tenant,)),
                Match(field="feed", any_of=(name,)),
                Match(field="ingested", at_most=until.isoformat()),
            )
        )
        for collection in await self.backends.index.collections():
            if points.holds_frames(collection):
                async for page in point_pages(self.backends.index, collection, where):
                    for hit in page:
                        yield hit
