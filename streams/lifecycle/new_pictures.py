"""Pictures that were put lately: which of them may go for room all the same.

A picture is put before its record is sent, so one that no record cites may be of a frame that is about to be accepted.
It may go once a record that was appended after the put cites it and no group of the plan has that frame to finish. A
thumbnail is put before its event, and goes after its original.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial

from schemas import codec, topics
from schemas.errors import SchemaError
from stores.blobs import THUMBNAIL, BlobStore, StoredBlob, blob_uri
from stores.errors import StoreUnavailable
from streams.errors import Unavailable
from streams.lifecycle.oldest_blobs import AgedBlob, day_start, oldest
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs
from streams.retry import Retry
from streams.topic_reader import read_range
from streams.transport import Partition, Record, Transport

SETTLE_SECONDS = 600.0
"""So long the record of a picture may still be on its way: a source that waits longer for the log puts it again."""
LISTED_BLOBS = 8192
"""As for older ones: see the trimmer."""


@dataclass(slots=True)
class RecentRecords:
    """What the records of the last minutes cite, with the time at which the newest one was appended."""

    transport: Transport
    originals: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """By URI: of the accepted frame's record, with whether the worker put the original: that of another producer."""
    thumbnails: dict[str, tuple[float, str]] = field(default_factory=dict)
    """By URI: of the enriched event, with the URI of the frame's original."""
    _next: dict[Partition, int] = field(default_factory=dict)

    async def update(self, since: float) -> None:
        """Read what came, and drop what is older than `since`. Raises Unavailable."""
        existing = await self.transport.topics()
        for topic in {topics.RAW, topics.ENRICHED} & existing.keys():
            for partition, (first, end) in (await self.transport.ends(topic)).items():
                await self._follow(partition, first, end, since)
        self.originals = {uri: known for uri, known in self.originals.items() if known[0] >= since}
        self.thumbnails = {uri: known for uri, known in self.thumbnails.items() if known[0] >= since}

    async def _follow(self, partition: Partition, first: int, end: int, since: float) -> None:
        following = self._next.get(partition)
        if following is None or end < following:  # a log that was replaced
            following = await self._first_since(partition, first, end, since)
        async for record in read_range(self.transport, partition, max(first, following), end):
            self._note(record)
            self._next[partition] = record.offset + 1
        self._next[partition] = end

    async def _first_since(self, partition: Partition, first: int, end: int, since: float) -> int:
        """Where records from then on begin, by halving: a partition may have millions."""
        low, high = first, end
        while low < high:
            middle = (low + high) // 2
            page = await self.transport.read(partition, middle, 1)
            if page and page[0].timestamp < since:
                low = page[0].offset + 1
            else:
                high = middle
        return low

    def _note(self, record: Record) -> None:
        try:
            event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
        except SchemaError:
            return
        uri = event.image.uri or blob_uri(event.tenant, event.feed, event.ingested.date(), event.image.sha256)
        if record.partition.topic == topics.RAW:
            appended, _ = self.originals.get(uri, (0.0, False))
            self.originals[uri] = max(appended, record.timestamp), not event.image.uri
        elif event.image.thumbnail:
            appended, _ = self.thumbnails.get(event.image.thumbnail, (0.0, ""))
            self.thumbnails[event.image.thumbnail] = max(appended, record.timestamp), uri

    def is_original_cited(self, blob: StoredBlob) -> bool:
        """Whether a record came after the put, or before it, where the worker puts what another producer sent."""
        appended, put_by_worker = self.originals.get(blob.uri, (-math.inf, False))
        return put_by_worker or appended >= blob.modified

    def original_of(self, thumbnail: StoredBlob) -> str:
        """Of a frame whose event came after the put; empty: there is none."""
        appended, original = self.thumbnails.get(thumbnail.uri, (-math.inf, ""))
        return original if appended >= thumbnail.modified else ""


@dataclass(slots=True)
class NewPictures:
    blobs: BlobStore
    tenant: str
    unfinished: UnfinishedBlobs
    recent: RecentRecords
    retry: Retry
    new_bytes: int = 0
    """Of the pages since `reset` that no record cites yet."""
    unfinished_bytes: int = 0
    _moments: dict[str, float] = field(default_factory=dict)
    """When the originals of these pages were put."""
    _held: set[str] = field(default_factory=set)
    """Those that stay."""

    def reset(self) -> None:
        self.new_bytes = self.unfinished_bytes = 0
        self._moments.clear()
        self._held.clear()

    async def pages(self, feeds: Sequence[str], day: date, now: float) -> AsyncIterator[Sequence[AgedBlob]]:
        """The new pictures of the day that may go, by the time at which the original was put; its thumbnail follows."""
        since = now - SETTLE_SECONDS
        if day_start(day + timedelta(days=1)) <= since:
            return
        after: AgedBlob | None = AgedBlob(since, StoredBlob("", 0, since), "")
        while after is not None:
            list_page = partial(oldest, self.blobs, self.tenant, feeds, day, LISTED_BLOBS, after)
            page = await self.retry.forever("blobs", list_page, StoreUnavailable)
            after = page[-1] if len(page) == LISTED_BLOBS else None
            if page:  # read after the listing: a record that came before a put does not speak for it
                await self.retry.forever("broker", partial(self.recent.update, since), Unavailable)
                await self.retry.forever("broker", self.unfinished.update, Unavailable)
                yield self._free(page)

    def _free(self, page: Sequence[AgedBlob]) -> list[AgedBlob]:
        originals = [aged for aged in page if not aged.blob.uri.endswith(THUMBNAIL)]
        self._moments |= {aged.blob.uri: aged.moment for aged in originals}
        free = [aged for aged in originals if self._may_original_go(aged.blob)]
        thumbnails = (aged for aged in page if aged.blob.uri.endswith(THUMBNAIL))
        free += [moved for aged in thumbnails if (moved := self._behind_original(aged)) is not None]
        return sorted(free, key=lambda aged: (aged.moment, aged.blob.uri.endswith(THUMBNAIL)))

    def _may_original_go(self, blob: StoredBlob) -> bool:
        is_unfinished = blob.uri in self.unfinished
        if not is_unfinished and self.recent.is_original_cited(blob):
            return True
        self._held.add(blob.uri)
        self.unfinished_bytes += blob.size_bytes if is_unfinished else 0
        self.new_bytes += 0 if is_unfinished else blob.size_bytes
        return False

    def _behind_original(self, thumbnail: AgedBlob) -> AgedBlob | None:
        """The thumbnail with the moment of its original, where both may go: a worker may write the same one now."""
        original = self.recent.original_of(thumbnail.blob)
        if not original or original in self._held or original in self.unfinished:
            self.unfinished_bytes += thumbnail.blob.size_bytes
            return None
        return replace(thumbnail, moment=self._moments.get(original, thumbnail.moment))
