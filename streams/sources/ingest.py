"""Makes a source's pictures durable: the original in the blob store first, then its record on `frames.raw`.

A frame is accepted when both are acknowledged. Whatever happens before that is harmless: ids are deterministic, a
blob is named by its content, and the next ingest of the same source goes on where this one stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.identity import check_name
from stores.blobs import BlobStore
from streams.clock import Clock
from streams.sources.accepted_frames import accepted_before
from streams.sources.acceptor import Acceptor, Progress, Report, Summary
from streams.sources.offer_buffer import buffered
from streams.sources.rate_limit import limited
from streams.sources.source import Source
from streams.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    inline_limit_bytes: int = 512 << 10
    """Originals up to this travel inside internal events too, which saves the worker a fetch."""
    batch_frames: int = 64
    batch_bytes: int = 4 << 20
    """One publish holds about this much; as much again waits between source and log."""
    max_age_seconds: float = 0.0
    """Goes with each frame: see `FrameEvent.max_age_seconds`."""
    frames_per_second: float | None = None
    """The most that is taken of the source; what cannot wait is shed."""


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
) -> Summary:
    """Put a source's pictures on `frames.raw`; what was accepted before is counted as repeated and adds nothing.

    Waits, and says so to `progress`, while the log is full or a store is away. May be cancelled: a write that has
    begun is finished first. Raises UnreadableSource, PlanError (topics are missing), ValueError for a wrong name.
    """
    check_name("tenant", tenant)
    check_name("feed", feed)
    acceptor = Acceptor(
        transport=transport,
        blobs=blobs,
        tenant=tenant,
        feed=feed,
        kind=source.kind,
        clock=clock,
        report=progress or _silent,
        total=await source.total(),
        inline_limit_bytes=settings.inline_limit_bytes,
        max_age_seconds=settings.max_age_seconds,
        accepted=await accepted_before(transport, tenant, feed) if source.repeatable else None,
    )
    offers = source.offers(acceptor.seen)
    if settings.frames_per_second is not None:
        offers = limited(offers, settings.frames_per_second, clock, sheds=not source.repeatable)
    async with buffered(offers, settings.batch_frames, settings.batch_bytes) as buffer:
        while batch := await buffer.take():
            if backpressure is not None:
                await backpressure()
            await acceptor.take(batch)
    await acceptor.tell_shed()
    return acceptor.summary()


def _silent(_: Progress) -> None:
    """Nobody watches."""
