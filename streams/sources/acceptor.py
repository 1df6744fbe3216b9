"""The moment of acceptance: blobs durable, then records and the note that they were accepted, then it counts."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from schemas import codec
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.events import FrameEvent, ImageRef, Kind
from schemas.identity import frame_id, partition_key, still_key
from schemas.topics import RAW
from stores.blobs import BlobStore, blob_uri
from stores.errors import StoreUnavailable
from streams.clock import Clock
from streams.errors import LogFull, TooLarge, Unavailable
from streams.retry import pauses
from streams.sources.accepted_frames import acceptance, id_bytes
from streams.sources.shed_counter import ShedTally
from streams.sources.source import Offer, Picture, Refusal, Shed
from streams.transport import NewRecord, Transport

NAMED_REFUSALS = 100
"""Refusals that a summary names one by one; all are counted."""
_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.1, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    accepted: int
    repeated: int
    refused: int
    shed: int
    """Dropped by a live source because we were behind."""
    reasons: dict[str, int]
    """Refused by reason."""
    refusals: tuple[Refusal, ...]
    """The first of them by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an ingest is. `total` may be an estimate; `waiting_for` says what is away or full, or is empty."""

    done: int
    total: int | None
    accepted: int
    repeated: int
    refused: int
    waiting_for: str = ""


Report = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class Acceptor:
    """Takes a source's offers in batches and counts what became of them. `accepted` holds ids of 16 bytes."""

    transport: Transport
    blobs: BlobStore
    tenant: str
    feed: str
    kind: Kind
    clock: Clock
    report: Report
    total: int | None
    inline_limit_bytes: int
    max_age_seconds: float = 0.0
    accepted: set[bytes] | None
    """None where no position ever comes again: then nothing is noted either."""
    _shed: ShedTally = field(init=False)
    _count: Counter[str] = field(default_factory=Counter)
    _reasons: Counter[str] = field(default_factory=Counter)
    _refusals: list[Refusal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shed = ShedTally(self.tenant, self.feed, self.clock)

    def seen(self, position: str) -> bool:
        """Whether the frame at `position` was accepted; sources ask from their threads."""
        return self.accepted is not None and id_bytes(frame_id(self.tenant, self.feed, position)) in self.accepted

    async def take(self, batch: Sequence[Offer]) -> None:
        """Accept every new picture of the batch. Cancelled, it finishes a write that has begun, and nothing more."""
        fresh: dict[str, tuple[FrameEvent, bytes]] = {}
        for offer in batch:
            if isinstance(offer, Refusal):
                self._refuse(offer)
            elif isinstance(offer, Shed):
                self._count["shed"] += offer.count
                self._shed.add(offer.count)
            elif isinstance(offer, Picture) and not self.seen(offer.position) and offer.position not in fresh:
                fresh[offer.position] = self._event(offer), offer.content
            else:
                self._count["repeated"] += 1
        if fresh:
            await self._accept(list(fresh.values()))
        if self._shed.due:
            await self.tell_shed()
        self._tell()

    async def tell_shed(self) -> None:
        """Publish what was shed and not yet told."""
        if (record := self._shed.record()) is not None:
            await self._until("log", lambda: self.transport.publish([record]), (LogFull, Unavailable))
            self._shed.written()

    def summary(self) -> Summary:
        return Summary(
            accepted=self._count["accepted"],
            repeated=self._count["repeated"],
            refused=self._count["refused"],
            shed=self._count["shed"],
            reasons=dict(self._reasons),
            refusals=tuple(self._refusals),
        )

    def _refuse(self, refusal: Refusal) -> None:
        self._count["refused"] += 1
        self._reasons[refusal.reason] += 1
        if len(self._refusals) < NAMED_REFUSALS:
            self._refusals.append(refusal)

    def _event(self, picture: Picture) -> FrameEvent:
        sha256 = hashlib.sha256(picture.content).hexdigest()
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        return FrameEvent(
            id=frame_id(self.tenant, self.feed, picture.position),
            tenant=self.tenant,
            feed=self.feed,
            kind=self.kind,
            position=picture.position,
            captured=picture.captured,
            ingested=now,
            image=ImageRef(
                format=picture.format,
                sha256=sha256,
                size_bytes=len(picture.content),
                width=picture.width,
                height=picture.height,
                quality=picture.quality,
                uri=blob_uri(self.tenant, self.feed, now.date(), sha256),
                inline=picture.content if len(picture.content) <= self.inline_limit_bytes else None,
            ),
            max_age_seconds=self.max_age_seconds,
        )

    async def _accept(self, fresh: Sequence[tuple[FrameEvent, bytes]]) -> None:
        contents = {event.image.uri: content for event, content in fresh}
        await self._until("blobs", lambda: self._put(contents), StoreUnavailable)
        events = [event for event, _ in fresh]
        try:
            await self._until("log", lambda: self._publish(events), (LogFull, Unavailable))
        except TooLarge:
            light = [replace(event, image=replace(event.image, inline=None)) for event in events]
            await self._until("log", lambda: self._publish(light), (LogFull, Unavailable))

    async def _put(self, contents: dict[str, bytes]) -> None:
        puts = (self.blobs.put(self.tenant, uri, content) for uri, content in contents.items())
        for outcome in await asyncio.gather(*puts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _publish(self, events: Sequence[FrameEvent]) -> None:
        """Records, then the note of them; in one write where that is all or nothing."""
        records, ids = [self._record(event) for event in events], [event.id for event in events]
        if self.accepted is None:
            await self.transport.publish(records)
        else:
            note = acceptance(self.tenant, self.feed, ids, self.clock.now())
            for write in [[*records, note]] if self.transport.atomic else [records, [note]]:
                await self.transport.publish(write)
            self.accepted.update(map(id_bytes, ids))
        self._count["accepted"] += len(events)

    def _record(self, event: FrameEvent) -> NewRecord:
        key = still_key(event.id) if self.kind == "still" else partition_key(self.tenant, self.feed)
        return NewRecord(RAW, key, codec.encode_frame(event), frame_headers(event, RAW_TYPE))

    async def _until(
        self,
        what: str,
        attempt: Callable[[], Awaitable[None]],
        passing: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        waits = pauses(_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS)
        while True:
            try:
                return await _finished(attempt())
            except passing as error:
                self._tell(f"{what}: {error}")
                await self.clock.sleep(next(waits))

    def _tell(self, waiting_for: str = "") -> None:
        accepted, repeated, refused = (self._count[name] for name in ("accepted", "repeated", "refused"))
        self.report(
            Progress(
                done=accepted + repeated + refused,
                total=self.total,
                accepted=accepted,
                repeated=repeated,
                refused=refused,
                waiting_for=waiting_for,
            )
        )


async def _finished(work: Awaitable[None]) -> None:
    """Await `work` to its end even when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
