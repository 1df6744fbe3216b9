"""Blobs that no record, point or dead letter cites: what an ingest left that was killed before its records were sent.

A blob of a day counts as one only if the log still has every record that may cite it: where retention has dropped
records of that time, a picture without a point may be cited by what subscribers hold.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date

import structlog

from schemas import points, topics
from schemas.identity import DEFAULT_TENANT
from stores.blobs import StoredBlob
from stores.index import Filter, Match
from stores.pages import point_pages
from streams.backends import Backends
from streams.clock import Clock
from streams.lifecycle.citations import citation_of
from streams.lifecycle.kept_frames import KeptFrames
from streams.lifecycle.oldest_blobs import day_start
from streams.topic_reader import read_topic

log = structlog.get_logger()

DAY_SECONDS = 86_400.0
SETTLE_SECONDS = DAY_SECONDS
"""A younger blob's record may be on its way: a source puts a picture again while it waits longer for the log."""
FEW, FEW_SHARE = 100, 0.05
"""A killed ingest leaves no more than a few batches. More pictures without a record mean that the log was replaced."""
CANDIDATES = 200_000
"""Blobs that are compared at once, some 60 MB; more days wait for the next pass, and a feed's day is not divided."""


@dataclass(slots=True)
class Orphans:
    """`remove` is called often, and works once a day."""

    backends: Backends
    clock: Clock
    tenant: str = DEFAULT_TENANT
    _checked: set[tuple[str, date]] = field(default_factory=set)
    _due: float = float("-inf")

    async def remove(self) -> int:
        """Remove what is due; returns how many. Raises StoreUnavailable, Unavailable; then call it again."""
        if self.clock.monotonic() < self._due or not await self.backends.transport.believes_clock():
            return 0
        removed = 0
        while True:
            candidates, days = await self._candidates()
            if not days:
                break
            count = len(candidates)
            await self._spare_cited(candidates)
            removed += await self._remove(candidates, count)
            self._checked |= days
        self._due = self.clock.monotonic() + DAY_SECONDS
        return removed

    async def _remove(self, orphans: dict[str, StoredBlob], compared: int) -> int:
        if len(orphans) > max(FEW, FEW_SHARE * compared):
            log.warning(
                "many_pictures_without_a_record",
                blobs=len(orphans),
                compared=compared,
                remedy="nothing was removed, since the log may have been replaced: run `sightline check`",
            )
            return 0
        for blob in orphans.values():
            later = math.nextafter(blob.modified, math.inf)
            await self.backends.blobs.delete(self.tenant, blob.uri, put_before=later)
        if orphans:
            log.info("orphans_removed", blobs=len(orphans), why="no record, point or dead letter cites them")
        return len(orphans)

    async def _candidates(self) -> tuple[dict[str, StoredBlob], set[tuple[str, date]]]:
        """The blobs of days that are over and have not been checked, as many as fit; no days once all are checked."""
        since, until = await self._covered_since(), self.clock.now() - SETTLE_SECONDS
        candidates: dict[str, StoredBlob] = {}
        chosen: set[tuple[str, date]] = set()
        for feed, days in (await self.backends.blobs.days(self.tenant)).items():
            for day in days:
                over = since <= day_start(day) and day_start(day) + DAY_SECONDS <= until
                if over and (feed, day) not in self._checked and len(candidates) < CANDIDATES:
                    chosen.add((feed, day))
                    async for blob in self.backends.blobs.list(self.tenant, feed, day):
                        if blob.modified < until:
                            candidates[blob.uri] = blob
        return candidates, chosen

    async def _covered_since(self) -> float:
        """The moment from which on the log has every record that cites a picture; seconds since the epoch.

        Pictures from before the log's first record are those of another log.
        """
        begun, kept_since = math.inf, -math.inf
        for topic in await self.backends.transport.topics():
            if topics.carries_frames(topic):
                for partition, (first, end) in (await self.backends.transport.ends(topic)).items():
                    page = await self.backends.transport.read(partition, first, 1) if first < end else []
                    oldest = page[0].timestamp if page else math.inf
                    begun = min(begun, oldest)
                    kept_since = max(kept_since, oldest if first > 0 else -math.inf)
        return max(begun, kept_since)

    async def _spare_cited(self, candidates: dict[str, StoredBlob]) -> None:
        async for uri in self._cited(candidates):
            candidates.pop(uri, None)

    async def _cited(self, candidates: dict[str, StoredBlob]) -> AsyncIterator[str]:
        kept = KeptFrames(self.backends.transport)
        await kept.catch_up()
        for entry in kept.frames.values():
            for uri in entry.uris:
                yield uri
        for name in await self.backends.index.collections():
            if points.is_ours(name):
                async for uri in self._cited_by_points(name, candidates):
                    yield uri
        for topic in await self.backends.transport.topics():  # last: what became known meanwhile counts too
            if topics.carries_frames(topic):
                async for record in read_topic(self.backends.transport, topic):
                    for uri in citation.uris if (citation := citation_of(record)) is not None else ():
                        yield uri

    async def _cited_by_points(self, collection: str, candidates: dict[str, StoredBlob]) -> AsyncIterator[str]:
        """Of the tenant; a frame's point is of the candidates' days or later."""
        tenant = Match(field="tenant", any_of=(self.tenant,))
        first = min((blob.uri.split("/")[2] for blob in candidates.values()), default="")
        ingested = Match(field="ingested", at_least=f"{first}T00:00:00Z")
        where = Filter(must=(tenant, ingested) if first and points.holds_frames(collection) else (tenant,))
        async for page in point_pages(self.backends.index, collection, where):
            for hit in page:
                for name in ("uri", "thumbnail"):
                    yield str(hit.payload.get(name) or "")
