"""The moment of acceptance: originals durable, then their records and the record that lists them as accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from schemas.events import FrameEvent
from stores.blobs import BlobStore
from stores.errors import StoreUnavailable
from streams.clock import Clock
from streams.errors import LogFull, TooLarge, Unavailable
from streams.retry import Backoff, Transient, retry
from streams.sources.accepted_frames import acceptance_record, id_bytes
from streams.sources.ingest_counts import IngestCounts
from streams.sources.raw_frames import RawFrames
from streams.sources.shed_counter import ShedCounter
from streams.sources.source import Offer, Picture, Refusal, Shed
from streams.transport import NewRecord, Transport

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0


@dataclass(slots=True, kw_only=True)
class Acceptor:
    """Accepts a source's offers batch by batch and counts them."""

    transport: Transport
    blobs: BlobStore
    clock: Clock
    frames: RawFrames
    counts: IngestCounts
    accepted: set[bytes] | None
    """Ids (16 bytes) of the feed's accepted frames; None if positions never repeat: then none are recorded."""
    _shed: ShedCounter = field(init=False)

    def __post_init__(self) -> None:
        self._shed = ShedCounter(self.frames.tenant, self.frames.feed, self.clock)

    def is_accepted(self, position: str) -> bool:
        """Whether the frame at `position` is accepted. May be called from any thread."""
        return self.accepted is not None and id_bytes(self.frames.id_at(position)) in self.accepted

    async def take(self, batch: Sequence[Offer]) -> None:
        """Accept every new picture of the batch. Cancelled, it finishes a write that has begun and starts no other."""
        new: dict[str, tuple[FrameEvent, bytes]] = {}
        for offer in batch:
            if isinstance(offer, Refusal):
                self.counts.refuse(offer)
            elif isinstance(offer, Shed):
                self.counts.shed += offer.count
                self._shed.add(offer.count)
            elif isinstance(offer, Picture) and offer.position not in new and not self.is_accepted(offer.position):
                new[offer.position] = self.frames.event(offer), offer.content
            else:
                self.counts.repeated += 1
        if new:
            await self._accept(list(new.values()))
        if self._shed.due:
            await self.publish_shed()
        self.counts.report_progress()

    async def publish_shed(self) -> None:
        """Publish the number of frames that were shed since the last time."""
        if (record := self._shed.record()) is not None:
            await self._retry("log", lambda: self.transport.publish([record]), (LogFull, Unavailable))
            self._shed.reset()

    async def _accept(self, new: Sequence[tuple[FrameEvent, bytes]]) -> None:
        contents = {event.image.uri: content for event, content in new}
        await self._retry("blobs", lambda: self._put(contents), StoreUnavailable)
        events = [event for event, _ in new]
        try:
            await self._retry("log", lambda: self._publish(events), (LogFull, Unavailable))
        except TooLarge:
            by_reference = [replace(event, image=replace(event.image, inline=None)) for event in events]
            await self._retry("log", lambda: self._publish(by_reference), (LogFull, Unavailable))

    async def _put(self, contents: dict[str, bytes]) -> None:
        puts = (self.blobs.put(self.frames.tenant, uri, content) for uri, content in contents.items())
        for result in await asyncio.gather(*puts, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _publish(self, events: Sequence[FrameEvent]) -> None:
        """The frames' records, then their acceptance record; in one write where a write is atomic."""
        records, ids = [self.frames.record(event) for event in events], [event.id for event in events]
        if self.accepted is None:
            await self.transport.publish(records)
        else:
            acceptance = acceptance_record(self.frames.tenant, self.frames.feed, ids, self.clock.now())
            for write in self._writes(records, acceptance):
                await self.transport.publish(write)
            self.accepted.update(map(id_bytes, ids))
        self.counts.accepted += len(events)

    def _writes(self, records: list[NewRecord], acceptance: NewRecord) -> list[list[NewRecord]]:
        return [[*records, acceptance]] if self.transport.atomic else [records, [acceptance]]

    async def _retry(self, what: str, attempt: Callable[[], Awaitable[None]], transient: Transient) -> None:
        """Until the attempt succeeds; `what` stands in the progress as waited for."""
        await retry(
            lambda: _uncancelled(attempt()),
            transient,
            Backoff(self.clock, first_seconds=FIRST_PAUSE_SECONDS, most_seconds=MAX_PAUSE_SECONDS),
            failed=lambda error: self.counts.report_progress(f"{what}: {error}"),
        )


async def _uncancelled(work: Awaitable[None]) -> None:
    """Await `work` to its end even when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
