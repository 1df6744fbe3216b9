"""From a frame at the end of its segment to everything that will be written for it, encoded and size-checked.

Nothing is written before all of it is known to fit; a frame whose event cannot be written is dead instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from processors.frame import Frame, freeze
from schemas import cloudevents, codec, points, topics
from schemas.errors import Unencodable
from schemas.events import DeadLetter, FrameEvent, Observed
from schemas.identity import partition_key, place_in, still_key
from stores.blobs import blob_uri, sha256_hex
from stores.index import Point
from streams.transport import NewRecord
from streams.worker.in_flight import Death, InFlightFrame

STAGE = "publish"
"""Stands as `stage` in the dead letters of frames whose event could not be written."""
RECORD_OVERHEAD_BYTES = 1024
"""Key, headers and framing of a record, beside its value."""
MESSAGE_CHARACTERS = 2000
SMALL_HEADER_BYTES, KEPT_HEADERS = 2048, 64
"""What a dead letter keeps of the headers of another producer's record that fit in no record beside its own."""


class EncodedFrame(msgspec.Struct):
    """What one frame sends out: its thumbnail (URI, JPEG), its points, its records."""

    inflight: InFlightFrame
    outgoing: list[NewRecord]
    thumbnail: tuple[str, bytes] | None = None
    points: dict[str, list[Point]] = {}
    """By collection."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Stage and reason."""

    @property
    def frame_id(self) -> str:
        return self.inflight.frame.id


@dataclass(frozen=True, slots=True)
class FrameEncoder:
    """Encodes the frames at a segment's end. `limits` are the topics' largest records in bytes."""

    topic: str
    is_last: bool
    model_set: str
    limits: Mapping[str, int]
    inline_limit_bytes: int
    publish_embeddings: bool
    observed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By stage, the keys of its results that `frames.observed` carries."""

    def encode(self, inflight: InFlightFrame, now: datetime) -> EncodedFrame:
        """Encode everything. Never raises for what a frame holds: such a frame gets its death instead."""
        if inflight.death is None:
            try:
                return self._alive(inflight, now)
            except Unencodable as error:
                inflight.death = Death(STAGE, error.reason, str(error))
            except ValueError as error:
                inflight.death = Death(STAGE, "unencodable", str(error))
        return self._dead(inflight, inflight.death, now)

    def _alive(self, inflight: InFlightFrame, now: datetime) -> EncodedFrame:
        frame = inflight.frame
        thumbnail = _named_thumbnail(frame)
        frame.model_set = self.model_set
        if not self.is_last:
            return EncodedFrame(inflight, [self._onward(frame)], thumbnail)
        frame.published = now
        event = freeze(frame)
        event = msgspec.structs.replace(event, image=msgspec.structs.replace(event.image, inline=None))
        outgoing = [self._enriched(event, frame.extra), self._observed(frame, now, None)]
        skipped = tuple((entry.stage, entry.reason) for entry in event.skipped)
        return EncodedFrame(inflight, outgoing, thumbnail, _points(event), skipped)

    def _onward(self, frame: Frame) -> NewRecord:
        """The event for the next segment, with the original inside if it is small."""
        content = frame.original
        inline = content if content is not None and len(content) <= self.inline_limit_bytes else None
        event = freeze(frame)
        if event.image.inline is not inline:
            event = msgspec.structs.replace(event, image=msgspec.structs.replace(event.image, inline=inline))
        key = still_key(frame.id) if frame.kind == "still" else partition_key(frame.tenant, frame.feed)
        headers = cloudevents.frame_headers(event, cloudevents.SEGMENT_TYPE)
        return self._checked(NewRecord(self.topic, key, codec.encode_frame(event, extra=frame.extra), headers))

    def _enriched(self, event: FrameEvent, extra: Mapping[str, Any]) -> NewRecord:
        value = codec.encode_frame(event, extra=extra, as_json=True, with_embeddings=self.publish_embeddings)
        headers = cloudevents.frame_headers(event, cloudevents.ENRICHED_TYPE, content_type=cloudevents.JSON)
        return self._checked(NewRecord(self.topic, partition_key(event.tenant, event.feed), value, headers))

    def _dead(self, inflight: InFlightFrame, death: Death, now: datetime) -> EncodedFrame:
        outgoing = [self._letter(inflight, death, now), self._observed(inflight.frame, now, death)]
        return EncodedFrame(inflight, outgoing)

    def _letter(self, inflight: InFlightFrame, death: Death, now: datetime) -> NewRecord:
        """The dead letter; its key is the frame's id, so that a later closing record can take it off the list."""
        frame, record = inflight.frame, inflight.record
        letter = DeadLetter(
            id=frame.id,
            tenant=frame.tenant,
            feed=frame.feed,
            stage=death.stage,
            reason=death.reason,
            message=death.message[:MESSAGE_CHARACTERS],
            died=now,
            topic=record.partition.topic,
            partition=record.partition.index,
            offset=record.offset,
            key=record.key,
            headers=dict(record.headers),
            value=record.value,
            uri=frame.image.uri,
            origin=frame.origin or place_in(frame.position),
        )
        value = self._encoded_letter(letter)
        headers = cloudevents.headers(
            cloudevents.DEAD_TYPE, tenant=frame.tenant, feed=frame.feed, frame=frame.id, time=now
        )
        return NewRecord(topics.DEAD, still_key(frame.id), value, headers)

    def _encoded_letter(self, letter: DeadLetter) -> bytes:
        """Without the record's value, and without its key and large headers, where it would be too large with them."""
        room = self.limits[topics.DEAD] - RECORD_OVERHEAD_BYTES
        value = codec.encode_dead(letter)
        if len(value) > room:
            value = codec.encode_dead(msgspec.structs.replace(letter, value=None))
        if len(value) > room:
            small = [name for name, text in letter.headers.items() if len(name) + len(text) <= SMALL_HEADER_BYTES]
            headers = {name: letter.headers[name] for name in small[:KEPT_HEADERS]}
            value = codec.encode_dead(msgspec.structs.replace(letter, value=None, key=b"", headers=headers))
        return value

    def _observed(self, frame: Frame, now: datetime, death: Death | None) -> NewRecord:
        """One small record per terminal state."""
        observed = Observed(
            frame=frame.id,
            tenant=frame.tenant,
            feed=frame.feed,
            kind=frame.kind,
            state="enriched" if death is None else "dead",
            published=now,
            captured=frame.captured,
            reason="" if death is None else death.reason,
            labels=dict(Counter(detection.label for detection in frame.detections)),
            skipped={entry.stage: entry.reason for entry in frame.skipped},
            **(self._measures(frame) if death is None else {}),
        )
        headers = cloudevents.headers(
            cloudevents.OBSERVED_TYPE,
            tenant=frame.tenant,
            feed=frame.feed,
            frame=frame.id,
            time=now,
            model_set=frame.model_set,
            content_type=cloudevents.JSON,
        )
        key = partition_key(frame.tenant, frame.feed)
        return NewRecord(topics.OBSERVED, key, codec.encode_observed(observed), headers)

    def _measures(self, frame: Frame) -> dict[str, Any]:
        """What the stages of the plan declare to be observed, as far as the frame has it."""
        measures: dict[str, Any] = {}
        for stage, names in self.observed.items():
            results = frame.results.get(stage)
            if isinstance(results, Mapping):
                measures |= {name: results[name] for name in names if name in results}
        return measures

    def _checked(self, record: NewRecord) -> NewRecord:
        size, limit = len(record.value or b"") + RECORD_OVERHEAD_BYTES, self.limits[record.topic]
        if size > limit:
            raise Unencodable("too_large", f"the event has {size} bytes, {record.topic} takes {limit}")
        return record


def _named_thumbnail(frame: Frame) -> tuple[str, bytes] | None:
    """Name the thumbnail by its content in the event; returns the URI and bytes to write, None for nothing.

    A picture so small that it is its own thumbnail is stored already: it is cited twice, not kept twice.
    """
    content = frame.thumbnail_jpeg
    if content is None or frame.image.thumbnail:
        return None
    if content is frame.original:
        uri = frame.image.uri
    else:
        uri = blob_uri(frame.tenant, frame.feed, frame.ingested.date(), sha256_hex(content), ".thumb")
    frame.image = msgspec.structs.replace(frame.image, thumbnail=uri)
    return None if content is frame.original else (uri, content)


def _points(event: FrameEvent) -> dict[str, list[Point]]:
    by_collection: dict[str, list[Point]] = {}
    if vectors := points.vectors(event):
        name = points.collection(points.FRAMES, event.model_set)
        by_collection[name] = [Point(id=event.id, vectors=vectors, payload=points.payload(event))]
    regions = [(region, vectors) for region in event.regions if (vectors := points.vectors(region))]
    if regions:
        name = points.collection(points.REGIONS, event.model_set)
        by_collection[name] = [
            Point(id=region.id, vectors=vectors, payload=points.region_payload(event, region))
            for region, vectors in regions
        ]
    return by_collection
