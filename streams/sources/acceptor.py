"""The moment of acceptance: originals durable, then their records and the record that lists them as accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import date
from functools import partial

import structlog
from msgspec.structs import replace

from schemas.events import FrameEvent
from schemas.identity import frame_id
from stores.blobs import BlobStore, day_of, sha256_hex
from stores.errors import StoreUnavailable
from streams.clock import Clock
from streams.errors import LogFull, TooLarge, Unavailable
from streams.lifecycle.accepted_frames import (
    AcceptedFrames,
    LostOriginal,
    PicturesOfOneCommand,
    acceptance_record,
    id_bytes,
    recording_record,
    whole_record,
)
from streams.lifecycle.deletions import Deletions
from streams.retry import Backoff, Transient, retry
from streams.sources.ingest_counts import IngestCounts
from streams.sources.raw_frames import RawFrames
from streams.sources.shed_counter import ShedCounter
from streams.sources.source import DAMAGED, LeftOut, Offer, Picture, Reading, Refusal, Repeated, Shed
from streams.transport import NewRecord, Transport

log = structlog.get_logger()
PUT_AGAIN_SECONDS = 300.0
"""Pictures whose records wait longer for the log are put again: retention takes none that was put lately."""
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0


@dataclass(slots=True, kw_only=True)
class Acceptor:
    """Accepts a source's offers batch by batch and counts them."""

    transport: Transport
    blobs: BlobStore
    clock: Clock
    frames: RawFrames
    counts: IngestCounts
    accepted: AcceptedFrames | None
    """What was accepted before; None if positions never repeat: then nothing is recorded."""
    deletions: Deletions
    """Frames that people had erased."""
    shared: PicturesOfOneCommand | None = None
    """What the sources of the same command take."""
    _shed: dict[str, ShedCounter] = field(default_factory=dict, init=False)
    """By reason."""
    _recordings: list[NewRecord] = field(default_factory=list, init=False)
    _of_this_reading: set[bytes] = field(default_factory=set, init=False)

    def is_accepted(self, position: str) -> bool:
        """Whether the frame at `position` is accepted and its original is there. May be called from any thread."""
        return (
            self.accepted is not None
            and self._accepted_as(self.accepted, position) is not None
            and self._lost(position) is None
        )

    def _lost(self, position: str) -> LostOriginal | None:
        """The frame at `position`, if it was accepted and its original is lost since."""
        if self.accepted is None or not self.accepted.lost:
            return None
        feed = self._accepted_as(self.accepted, position) or self.frames.feed
        lost = self.accepted.lost.get(id_bytes(frame_id(self.frames.tenant, feed, position)))
        return None if lost is None or lost.frame in self.deletions else lost

    def _accepted_as(self, accepted: AcceptedFrames, position: str) -> str | None:
        """The feed under which the frame at `position` was accepted."""
        if id_bytes(self.frames.id_at(position)) in accepted.own:
            return self.frames.feed
        tenant = self.frames.tenant
        return next(
            (feed for feed, ids in accepted.others.items() if id_bytes(frame_id(tenant, feed, position)) in ids), None
        )

    async def take(self, batch: Sequence[Offer]) -> None:
        """Accept every new picture of the batch. Cancelled, it finishes a write that has begun and starts no other."""
        new: dict[str, tuple[FrameEvent, bytes]] = {}
        lost: dict[str, tuple[LostOriginal, bytes]] = {}
        for offer in batch:
            match offer:
                case Refusal():
                    self.counts.refuse(offer)
                case Shed():
                    self._count_shed(offer)
                case LeftOut(count):
                    self.counts.left_out += count
                case Reading():
                    self._note(offer)
                case Picture(position) if position in lost:
                    self.counts.doubled += 1
                case Picture(position) if self._is_erased(position):
                    self.counts.forgotten += 1
                case Picture(position, content) if (known := self._lost(position)) is not None:
                    lost[position] = known, content
                    if not known.uri.endswith(sha256_hex(content)):  # empty, or a film that is encoded differently now
                        new[position] = self._event(offer, known.feed), content
                case Picture(position) if position not in new and self._takes(position):
                    new[position] = self._event(offer, self.frames.feed), offer.content
                case Picture(position) | Repeated(position):
                    self._count_known(position, is_new=position in new)
        if new:
            await self._accept(list(new.values()))
        if lost:
            await self._restore([entry for position, entry in lost.items() if position not in new])
            await self._note_whole([known for known, _ in lost.values()])
        if any(counter.due for counter in self._shed.values()):
            await self.publish_shed()
        self.counts.report_progress()

    def _is_erased(self, position: str) -> bool:
        """Whether its erasure was requested, also where its acceptance is not on the log."""
        return bool(self.deletions) and self.frames.id_at(position) in self.deletions

    def _takes(self, position: str) -> bool:
        if self.is_accepted(position):
            return False
        return self.shared is None or self.shared.take(position)

    def _event(self, picture: Picture, feed: str) -> FrameEvent:
        event, is_from_future = replace_fields(self.frames, feed=feed).event(picture)
        self.counts.from_future += is_from_future
        return event

    def _count_known(self, position: str, *, is_new: bool) -> None:
        feed = None if self.accepted is None else self._accepted_as(self.accepted, position)
        frame = frame_id(self.frames.tenant, feed or self.frames.feed, position)
        if is_new or feed is None or id_bytes(frame) in self._of_this_reading:
            self.counts.doubled += 1
        elif frame in self.deletions:
            self.counts.forgotten += 1
        else:
            taken = self.accepted is not None and id_bytes(frame) in self.accepted.taken
            self.counts.repeat(feed, taken=taken)

    def _note(self, reading: Reading) -> None:
        """The recording is written with the first frames: later ones are known by it."""
        self._recordings = [recording_record(self.frames.tenant, self.frames.feed, reading.recording, self.clock.now())]
        self.counts.notes += [reading.note] if reading.note else []

    def _count_shed(self, shed: Shed) -> None:
        if shed.reason == DAMAGED:
            self.counts.damaged += shed.count
        else:
            self.counts.shed += shed.count
        if shed.reason not in self._shed:
            self._shed[shed.reason] = ShedCounter(self.frames.tenant, self.frames.feed, shed.reason, self.clock)
        self._shed[shed.reason].add(shed.count)

    async def finish(self) -> None:
        """Write what no frame has taken along."""
        if self._recordings:
            await self._retry("log", partial(self.transport.publish, self._recordings), (LogFull, Unavailable))
        await self.publish_shed()

    async def publish_shed(self) -> None:
        """Publish the number of frames that were shed since the last time, by reason."""
        for counter in self._shed.values():
            if (record := counter.record()) is not None:
                await self._retry("log", partial(self.transport.publish, [record]), (LogFull, Unavailable))
                if counter.reason == DAMAGED:
                    log.warning("damaged_frames_dropped", feed=self.frames.feed, frames=counter.count)
                counter.reset()

    async def _accept(self, new: Sequence[tuple[FrameEvent, bytes]]) -> None:
        contents = {event.image.uri: content for event, content in new}
        await self._retry("blobs", lambda: self._put(contents), StoreUnavailable)
        events = [event for event, _ in new]
        try:
            await self._publish(events, contents)
        except TooLarge:
            shorter = [replace(event, image=replace(event.image, inline=None)) for event in events]
            await self._publish(shorter, contents)

    async def _restore(self, lost: Sequence[tuple[LostOriginal, bytes]]) -> None:
        """Write originals again where they were; what is damaged there is removed first."""
        for known, content in lost:
            await self._retry("blobs", partial(self._replace, known.uri, content), StoreUnavailable)
        self.counts.restored += len(lost)

    async def _replace(self, uri: str, content: bytes) -> None:
        await self.blobs.delete(self.frames.tenant, uri)
        await self.blobs.put(self.frames.tenant, uri, content)

    async def _note_whole(self, frames: Sequence[LostOriginal]) -> None:
        records = [whole_record(self.frames.tenant, known) for known in frames]
        await self._retry("log", partial(self.transport.publish, records), (LogFull, Unavailable))
        if self.accepted is not None:
            for known in frames:
                self.accepted.lost.pop(id_bytes(known.frame), None)
                self._of_this_reading.add(id_bytes(known.frame))

    async def _put(self, contents: dict[str, bytes]) -> None:
        puts = (self.blobs.put(self.frames.tenant, uri, content) for uri, content in contents.items())
        for result in await asyncio.gather(*puts, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _publish(self, events: Sequence[FrameEvent], contents: dict[str, bytes]) -> None:
        ids = [event.id for event in events]
        writes, put = self._writes(events), self.clock.monotonic()

        async def write() -> None:
            nonlocal put
            if self.clock.monotonic() > put + PUT_AGAIN_SECONDS:
                await self._put(contents)
                put = self.clock.monotonic()
            await self._write(writes, ids)

        await self._retry("log", write, (LogFull, Unavailable, StoreUnavailable))

    def _writes(self, events: Sequence[FrameEvent]) -> list[list[NewRecord]]:
        """The frames' records, then their acceptance records; in one write where a write is atomic."""
        records = [*self._recordings, *(self.frames.record(event) for event in events)]
        if self.accepted is None:
            return [records]
        acceptances = self._acceptances(events)
        return [[*records, *acceptances]] if self.transport.atomic else [records, acceptances]

    def _acceptances(self, events: Sequence[FrameEvent]) -> list[NewRecord]:
        """One record, or one per day around midnight: the blobs of a record are of one day."""
        days: dict[date, list[FrameEvent]] = {}
        for event in events:
            days.setdefault(day_of(event.image.uri), []).append(event)
        tenant, feed, now = self.frames.tenant, self.frames.feed, self.clock.now()
        return [
            acceptance_record(tenant, feed, [each.id for each in of_day], now, [each.image.uri for each in of_day])
            for of_day in days.values()
        ]

    async def _write(self, writes: list[list[NewRecord]], ids: Sequence[str]) -> None:
        """Publish in order; what is acknowledged leaves `writes`.

        Called again after an error it publishes the same objects: the transport knows which are on their way already.
        """
        while writes:
            await self.transport.publish(writes[0])
            del writes[0]
        self._recordings = []
        if self.accepted is not None:
            self.accepted.own.update(accepted := list(map(id_bytes, ids)))
            self._of_this_reading.update(accepted)
        self.counts.accepted += len(ids)

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
