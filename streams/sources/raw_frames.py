"""Makes the events and records that a source's pictures become on `frames.raw`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import tzinfo

from processors.description import Description, describe
from schemas import codec
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.events import FrameEvent, ImageRef, Kind
from schemas.identity import frame_id, partition_key, still_key
from schemas.topics import RAW
from stores.blobs import blob_uri
from streams.clock import Clock, utc
from streams.sources.source import Picture
from streams.transport import NewRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFrames:
    """What the frames of one ingest have in common. Originals up to `inline_limit_bytes` are part of their events."""

    tenant: str
    feed: str
    kind: Kind
    clock: Clock
    inline_limit_bytes: int
    max_age_seconds: float = 0.0
    zone: tzinfo | None = None
    """Zone of EXIF dates that do not name theirs; None: the machine's."""

    def id_at(self, position: str) -> str:
        return frame_id(self.tenant, self.feed, position)

    def event(self, picture: Picture) -> tuple[FrameEvent, bool]:
        """The event, and whether the picture says that it was captured later than now: that time is not kept."""
        sha256 = hashlib.sha256(picture.content).hexdigest()
        now = utc(self.clock.now())
        said = describe(picture.content, self.zone, now) if self.kind == "still" else Description()
        event = FrameEvent(
            id=self.id_at(picture.position),
            tenant=self.tenant,
            feed=self.feed,
            kind=self.kind,
            position=picture.position,
            captured=picture.captured or said.taken,
            ingested=now,
            image=ImageRef(
                format=picture.format,
                sha256=sha256,
                size_bytes=len(picture.content),
                width=picture.width or said.width,
                height=picture.height or said.height,
                quality=picture.quality,
                uri=blob_uri(self.tenant, self.feed, now.date(), sha256),
                inline=picture.content if len(picture.content) <= self.inline_limit_bytes else None,
            ),
            max_age_seconds=self.max_age_seconds,
            origin=picture.origin,
        )
        return event, said.is_from_future

    def record(self, event: FrameEvent) -> NewRecord:
        key = still_key(event.id) if self.kind == "still" else partition_key(self.tenant, self.feed)
        return NewRecord(RAW, key, codec.encode_frame(event), frame_headers(event, RAW_TYPE))
