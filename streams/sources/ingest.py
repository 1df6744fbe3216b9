"""Makes a source's pictures durable: the original in the blob store first, then its record on `frames.raw`.

A frame is accepted when both are acknowledged. An interruption before that does no harm: ids are deterministic, a blob
is named by its content, and the next ingest of the same source continues where this one stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import tzinfo

from schemas.identity import check_name
from stores.blobs import BlobStore
from streams.clock import Clock
from streams.lifecycle.accepted_frames import PicturesOfOneCommand, accepted_frames
from streams.lifecycle.deletions import Deletions
from streams.sources.acceptor import Acceptor
from streams.sources.ingest_counts import IngestCounts, Report, Summary, WaitLog
from streams.sources.offer_buffer import buffered
from streams.sources.playback import VideoSource
from streams.sources.rate_limit import rate_limited
from streams.sources.raw_frames import RawFrames
from streams.sources.source import Refusal, Source
from streams.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    inline_limit_bytes: int = 512 << 10
    """Originals up to this size are part of internal events too, which saves the worker a fetch."""
    batch_frames: int = 64
    batch_bytes: int = 4 << 20
    """About the size of one publish; as much again waits between source and log."""
    max_age_seconds: float = 0.0
    """Part of each frame: see `FrameEvent.max_age_seconds`."""
    frames_per_second: float | None = None
    """Maximum rate; a repeatable source waits, any other sheds pictures beyond it."""
    zone: tzinfo | None = None
    """Zone of EXIF dates that do not name theirs; None: the machine's."""


Backpressure = Callable[[], Awaitable[None]]
"""Returns when there is room for more; awaited before every batch."""
DEFAULTS = IngestSettings()


async def ingest(
    source: Source,
    *,
    transport: Transport,
    blobs: BlobStore,
    tenant: str,
    feed: str,
    clock: Clock,
    progress: Report | None = None,
    backpressure: Backpressure | None = None,
    settings: IngestSettings = DEFAULTS,
    refused: Callable[[Refusal], None] | None = None,
    shared: PicturesOfOneCommand | None = None,
) -> Summary:
    """Put a source's pictures on `frames.raw`; frames that were accepted before are counted as repeated.

    `refused` gets every refusal; the summary lists the first ones. With `shared`, a still that another source of the
    command takes is not taken again.
    Waits, and reports it to `progress`, while the log is full or a store is unavailable. May be cancelled: a write that
    has begun is finished first. Raises UnreadableSource, PlanError (topics are missing), ValueError for a wrong name.
    """
    check_name("tenant", tenant)
    check_name("feed", feed)
    accepted, deletions = None, Deletions(transport)
    if source.repeatable:
        shared = shared if source.kind == "still" else None  # a video's position does not name its file
        accepted = await accepted_frames(
            transport, tenant, feed, of_all_feeds=shared is not None and shared.of_all_feeds
        )
        await deletions.catch_up()
        if isinstance(source, VideoSource):
            source.recorded(accepted.recordings)
    acceptor = Acceptor(
        transport=transport,
        blobs=blobs,
        clock=clock,
        frames=RawFrames(
            tenant=tenant,
            feed=feed,
            kind=source.kind,
            clock=clock,
            inline_limit_bytes=settings.inline_limit_bytes,
            max_age_seconds=settings.max_age_seconds,
            zone=settings.zone,
        ),
        counts=IngestCounts(progress or WaitLog(feed), await source.total(), feed=feed, refused_to=refused),
        accepted=accepted,
        shared=shared,
        deletions=deletions,
    )
    offers = source.offers(acceptor.is_accepted)
    if settings.frames_per_second is not None:
        offers = rate_limited(offers, settings.frames_per_second, clock, sheds=not source.repeatable)
    try:
        async with buffered(offers, settings.batch_frames, settings.batch_bytes) as buffer:
            while batch := await buffer.take():
                if backpressure is not None:
                    await backpressure()
                await acceptor.take(batch)
    except asyncio.CancelledError:
        acceptor.counts.report_progress()  # with what the write has added that was finished first
        raise
    await acceptor.finish()
    return acceptor.counts.summary()
