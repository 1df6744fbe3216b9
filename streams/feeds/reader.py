"""Reads one feed as its record says: the source, how fast, and what happens when the plan falls behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.events import Feed
from stores.blobs import BlobStore
from streams.clock import Clock
from streams.feeds.credentials import resolved
from streams.sources.ingest import Backpressure, IngestSettings, ingest
from streams.sources.lag_backpressure import Lossless
from streams.sources.live import LiveSettings, LiveSource
from streams.sources.live_input import Reading, live_protocol
from streams.sources.playback import Playback
from streams.sources.source import Source
from streams.sources.source_choice import RemoteOptions, choose_source
from streams.transport import Transport

LOSSLESS_RECORDS = 1_000
"""Lag at which a lossless feed pauses; a minute of ten cameras at two frames a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReader:
    """`watched` are the plan's groups with their topics. Call it with a feed; it returns when the source ends."""

    transport: Transport
    blobs: BlobStore
    clock: Clock
    watched: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]
    remote: RemoteOptions
    inline_limit_bytes: int
    lossless_records: int = LOSSLESS_RECORDS

    async def __call__(self, feed: Feed) -> None:
        """Raises UnsetReference, UnreadableSource and what the transport raises."""
        source = await asyncio.to_thread(self._source, feed)
        await ingest(
            source,
            transport=self.transport,
            blobs=self.blobs,
            tenant=feed.tenant,
            feed=feed.feed,
            clock=self.clock,
            backpressure=self._backpressure(feed),
            settings=IngestSettings(
                inline_limit_bytes=self.inline_limit_bytes,
                max_age_seconds=feed.max_age_seconds if feed.policy == "live" else 0.0,
                frames_per_second=feed.frames_per_second if source.repeatable else None,
            ),
        )

    def _source(self, feed: Feed) -> Source:
        """A camera is thinned by its own thread, which need not even encode what is too much."""
        spec = resolved(feed.source, self.environment)
        rate = feed.frames_per_second
        if live_protocol(spec) is not None:
            reading = Reading(keyframes_only=feed.keyframes_only)
            return LiveSource(spec, LiveSettings(fps=rate, quality=feed.quality, reading=reading), self.clock)
        played = Playback(fps=rate, realtime=feed.loop, laps=None if feed.loop else 1, quality=feed.quality)
        return choose_source(spec, played, self.clock, self.remote)

    def _backpressure(self, feed: Feed) -> Backpressure | None:
        if feed.policy == "live":
            return None
        return Lossless(self.transport, self.watched, self.lossless_records, self.clock)
