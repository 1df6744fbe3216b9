"""Reads one feed as its record says: from which source, how fast, and with which backpressure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

import structlog

from schemas.events import Feed
from stores.blobs import BlobStore
from streams.clock import Clock
from streams.feeds.credentials import resolve_references
from streams.sources.ingest import Backpressure, IngestSettings, ingest
from streams.sources.ingest_counts import NAMED_REFUSALS
from streams.sources.live import LiveSettings, LiveSource
from streams.sources.live_input import StreamOptions, live_protocol
from streams.sources.playback import Playback
from streams.sources.source import Refusal, Source
from streams.sources.source_choice import RemoteOptions, choose_source
from streams.transport import Transport

log = structlog.get_logger()
LOSSLESS_RECORDS = 1_000
"""Lag at which a lossless feed pauses: about a minute of ten cameras at two frames per second."""


@dataclass(slots=True)
class RefusalLog:
    """Logs what a reading of a feed refuses: damaged and incomplete films, files that are no pictures."""

    feed: str
    _logged: int = field(default=0, init=False)

    def __call__(self, refusal: Refusal) -> None:
        if self._logged < NAMED_REFUSALS:
            log.warning("feed_file_refused", feed=self.feed, reason=refusal.reason, why=refusal.message)
        self._logged += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReader:
    """Call it with a feed; it returns when the source ends. `backpressure` is that of lossless feeds."""

    transport: Transport
    blobs: BlobStore
    clock: Clock
    backpressure: Backpressure
    environment: Mapping[str, str]
    remote: RemoteOptions
    inline_limit_bytes: int
    zone: tzinfo | None = None

    async def __call__(self, feed: Feed) -> None:
        """Raises UnsetVariable, UnreadableSource and the errors of the transport."""
        source = await asyncio.to_thread(self._source, feed)
        await ingest(
            source,
            transport=self.transport,
            blobs=self.blobs,
            tenant=feed.tenant,
            feed=feed.feed,
            clock=self.clock,
            backpressure=self.backpressure if feed.policy == "lossless" else None,
            settings=IngestSettings(
                inline_limit_bytes=self.inline_limit_bytes,
                zone=self.zone,
                max_age_seconds=feed.max_age_seconds if feed.policy == "live" else 0.0,
                frames_per_second=feed.frames_per_second if source.repeatable else None,
            ),
            refused=RefusalLog(feed.feed),
        )

    def _source(self, feed: Feed) -> Source:
        """A camera's own thread limits its rate, so that surplus frames are not even encoded."""
        spec = resolve_references(feed.source, self.environment)
        rate = feed.frames_per_second
        if live_protocol(spec) is not None:
            stream = StreamOptions(keyframes_only=feed.keyframes_only)
            return LiveSource(spec, LiveSettings(fps=rate, quality=feed.quality, stream=stream), self.clock)
        playback = Playback(fps=rate, realtime=feed.loop, laps=None if feed.loop else 1, quality=feed.quality)
        return choose_source(spec, playback, self.clock, self.remote)
