"""What the log and the index know of each frame: its last state, where its bytes are, and what it was accepted as.

A frame's record can be made again from its event, and without one from its point's payload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from schemas import codec, points, topics
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.errors import SchemaError
from schemas.events import FrameEvent, ImageRef
from schemas.identity import frame_id, partition_key, produced_position, still_key, still_position
from stores.index import Index
from stores.pages import point_pages
from streams.lifecycle.citations import Place as Place
from streams.lifecycle.dead_letters import CLOSES_HEADER, REPLAYED_HEADER
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.kept_frames import KeptFrames, TrimmedFeeds
from streams.topic_reader import read_range, read_topic
from streams.transport import NewRecord, Record, Transport

Report = Callable[[str, int], None]
"""What is being read, and how much of it so far."""


def silent(_what: str, _count: int) -> None:
    """Reports nothing."""


@dataclass(slots=True)
class KnownFrame:
    """One frame; `event` is what it was accepted as, None where only a dead letter is left."""

    tenant: str
    feed: str
    event: FrameEvent | None = None
    uri: str = ""
    thumbnail: str = ""
    raw: Place | None = None
    """Of its last record on `frames.raw`."""
    has_bytes: bool = False
    """Whether that record holds the picture."""
    died: datetime | None = None
    embedded: dict[str, bool] = field(default_factory=dict)
    """By model set, whether its last event says that it has a point."""
    enriched: datetime | None = None

    @property
    def is_dead(self) -> bool:
        return self.died is not None and (self.enriched is None or self.enriched <= self.died)


@dataclass(slots=True)
class KnownFrames:
    """`points` are owners of points by collection; `unlogged` are payloads of frames that the log does not know."""

    frames: dict[str, KnownFrame] = field(default_factory=dict)
    points: dict[str, set[str]] = field(default_factory=dict)
    unlogged: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    cited: set[str] = field(default_factory=set)
    """Every blob that a record or a point cites."""
    deleted: frozenset[str] = frozenset()
    taken: set[str] = field(default_factory=set)
    """Frames whose pictures and points retention has taken: they have no point."""
    in_flight: set[str] = field(default_factory=set)
    """Frames with a record that a group of the plan has not finished."""
    first_seconds: float | None = None
    """When the oldest record of `frames.raw` was appended; None: there is none."""
    last_seconds: float | None = None
    """When the newest one was."""
    trimmed: bool = False
    """Retention has dropped records."""


async def known_frames(
    transport: Transport,
    index: Index,
    *,
    embedding_stages: Collection[str],
    groups: Mapping[str, Sequence[str]],
    report: Report = silent,
) -> KnownFrames:
    """Reads all frame topics and the points of every model set; `groups` are the plan's, with the topics they read.

    Raises Unavailable, StoreUnavailable.
    """
    known = KnownFrames(deleted=frozenset(await Deletions(transport).catch_up()))
    await _read_enriched(transport, known, embedding_stages, report)
    await _read_dead(transport, known)
    await _read_raw(transport, known, report)
    for group, names in groups.items():
        known.in_flight |= {frame async for frame in _unfinished(transport, group, names)}
    for frame in known.frames.values():
        known.cited |= {frame.uri, frame.thumbnail} - {""}
    for name in await index.collections():
        if points.holds_frames(name):
            await _read_points(index, name, known, report)
    await _note_taken(transport, known)
    return known


async def _note_taken(transport: Transport, known: KnownFrames) -> None:
    feeds, kept = TrimmedFeeds(transport), KeptFrames(transport)
    await feeds.catch_up()
    await kept.catch_up()
    spared = set().union(*known.points.values()) | kept.frames.keys()
    for frame, entry in known.frames.items():
        event = entry.event
        if event is not None and frame not in spared and feeds.took(entry.tenant, entry.feed, event.ingested):
            known.taken.add(frame)


async def _read_enriched(transport: Transport, known: KnownFrames, stages: Collection[str], report: Report) -> None:
    count = 0
    async for record in read_topic(transport, topics.ENRICHED):
        report("events", count := count + 1)
        known.trimmed |= count == 1 and record.offset > 0
        if (event := _event(record)) is None:
            continue
        frame = known.frames.setdefault(event.id, KnownFrame(event.tenant, event.feed))
        frame.event = as_accepted(event)
        frame.uri, frame.thumbnail = event.image.uri, event.image.thumbnail
        frame.enriched = event.published or event.ingested
        frame.embedded[event.model_set] = any(entry.stage in stages for entry in event.trace)


async def _read_dead(transport: Transport, known: KnownFrames) -> None:
    async for record in read_topic(transport, topics.DEAD):
        try:
            letter = None if CLOSES_HEADER in record.headers else codec.decode_dead(record.value, record.headers)
        except SchemaError:
            letter = None
        if letter is not None:
            frame = known.frames.setdefault(letter.id, KnownFrame(letter.tenant, letter.feed))
            frame.uri = frame.uri or letter.uri
            frame.died = letter.died if frame.died is None else max(frame.died, letter.died)


async def _read_raw(transport: Transport, known: KnownFrames, report: Report) -> None:
    count = 0
    for partition, (first, end) in (await transport.ends(topics.RAW)).items():
        known.trimmed |= first > 0
        async for record in read_range(transport, partition, first, end):
            report("accepted frames", count := count + 1)
            known.first_seconds = min(known.first_seconds or record.timestamp, record.timestamp)
            known.last_seconds = max(known.last_seconds or record.timestamp, record.timestamp)
            if (decoded := _decoded(record)) is None:
                continue
            event = decoded.event
            frame = known.frames.setdefault(event.id, KnownFrame(event.tenant, event.feed))
            frame.event = frame.event or as_accepted(event)
            frame.uri = frame.uri or event.image.uri
            frame.raw = (record.partition, record.offset)
            frame.has_bytes = decoded.picture is not None or event.image.inline is not None


async def _unfinished(transport: Transport, group: str, names: Sequence[str]) -> AsyncIterator[str]:
    lags = await transport.group_lag(group, names)
    for partition, lag in lags.items():
        first, end = (await transport.ends(partition.topic))[partition]
        async for record in read_range(transport, partition, max(first, end - lag), end):
            if (event := _event(record)) is not None:
                yield event.id


async def _read_points(index: Index, collection: str, known: KnownFrames, report: Report) -> None:
    owners = known.points.setdefault(collection, set())
    async for page in point_pages(index, collection):
        for hit in page:
            frame = str(hit.payload.get("frame") or hit.id)
            owners.add(frame)
            known.cited |= {str(hit.payload.get(name) or "") for name in ("uri", "thumbnail")} - {""}
            if frame not in known.frames:
                known.unlogged[frame] = hit.payload
        report("points", len(owners))


def _decoded(record: Record) -> codec.Decoded | None:
    """None for what cannot be read."""
    try:
        return codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp)
    except SchemaError:
        return None


def _event(record: Record) -> FrameEvent | None:
    decoded = _decoded(record)
    return None if decoded is None else decoded.event


def as_accepted(event: FrameEvent) -> FrameEvent:
    """The frame without what stages found: no age makes it skip a stage, and its bytes are those of its blob."""
    return FrameEvent(
        id=event.id,
        tenant=event.tenant,
        feed=event.feed,
        kind=event.kind,
        position=event.position,
        ingested=event.ingested,
        captured=event.captured,
        image=replace(event.image, inline=None, thumbnail=""),
        origin=event.origin,
    )


def raw_record(event: FrameEvent) -> NewRecord:
    """The frame's record on `frames.raw`, marked as one that may have left points."""
    key = still_key(event.id) if event.kind == "still" else partition_key(event.tenant, event.feed)
    headers = {**frame_headers(event, RAW_TYPE), REPLAYED_HEADER: b"1"}
    return NewRecord(topics.RAW, key, codec.encode_frame(event), headers)


def event_of_point(frame: str, payload: Mapping[str, Any]) -> FrameEvent | None:
    """What a frame was accepted as, from the payload of its point; None where its position cannot be found out."""
    tenant, feed, uri = (str(payload.get(name) or "") for name in ("tenant", "feed", "uri"))
    sha256 = uri.rpartition("/")[2]
    positions = (position for position in _positions(payload, sha256) if frame_id(tenant, feed, position) == frame)
    ingested, captured = (_time(payload.get(name)) for name in ("ingested", "captured"))
    if (position := next(positions, None)) is None or ingested is None or not uri:
        return None
    return FrameEvent(
        id=frame,
        tenant=tenant,
        feed=feed,
        kind="frame" if payload.get("kind") == "frame" else "still",
        position=position,
        ingested=ingested,
        captured=captured,
        image=ImageRef(format="jpeg", sha256=sha256, size_bytes=0, uri=uri),  # decoding finds out the format
        origin=str(payload.get("origin") or ""),
    )


def _positions(payload: Mapping[str, Any], sha256: str) -> Iterator[str]:
    """Where the frame may have been: points of earlier versions do not say, but a still's follows from its path."""
    origin = str(payload.get("origin") or "")
    yield str(payload.get("position") or "")
    yield still_position(origin, sha256)
    for space in (number for number, character in enumerate(origin) if character == " "):
        yield produced_position(origin[:space], origin[space + 1 :])


def seconds_of(text: object) -> float | None:
    """A payload's time in seconds since the epoch; None for what is no time."""
    moment = _time(text)
    return None if moment is None else moment.timestamp()


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
