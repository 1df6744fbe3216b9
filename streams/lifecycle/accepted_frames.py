"""The frames that sources have accepted: a compacted topic that every ingest reads first.

One record per published batch holds 48 bytes per frame: its id, and the hash of its original. Its key ends in the
first frame of the batch, so a batch that
is written twice replaces itself. The topic holds ids, not a position: see `docs/decisions/011-second-ingest.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import blake2b
from itertools import repeat
from typing import NamedTuple
from uuid import UUID

from schemas import cloudevents, codec
from schemas.cloudevents import ACCEPTED_TYPE, headers
from schemas.errors import SchemaError
from schemas.events import Accepted, Recording
from schemas.identity import frame_id
from schemas.topics import ACCEPTED
from stores.blobs import blob_uri, day_of
from streams.clock import utc
from streams.lifecycle.kept_frames import KeptFrames, TrimmedFeeds
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Record, Transport

_PAGE_RECORDS = 1_000
_ID_BYTES = 16
_DIGEST_BYTES = 32
_LOST = "lost:"
"""Before the frame's id in the key of a mark."""


def id_bytes(frame: str) -> bytes:
    """A frame's id (a UUID's text) in 16 bytes."""
    return bytes.fromhex(frame.replace("-", ""))


class LostOriginal(NamedTuple):
    """A frame whose original is lost; `uri` is the blob to write again, empty: the frame is accepted again."""

    frame: str
    feed: str
    uri: str


@dataclass(slots=True)
class AcceptedFrames:
    """Ids (16 bytes) of frames that are on `frames.raw`."""

    own: set[bytes] = field(default_factory=set)
    """The feed's."""
    recordings: list[Recording] = field(default_factory=list)
    """Video files that the feed has read."""
    others: dict[str, set[bytes]] = field(default_factory=dict)
    """Of the tenant's other feeds, by feed; empty unless they were asked for."""
    lost: dict[bytes, LostOriginal] = field(default_factory=dict)
    """Of these, the ones that an ingest has to make whole again."""
    taken: set[bytes] = field(default_factory=set)
    """Of these, the ones that are older than what retention keeps of their feed."""


class PicturesOfOneCommand:
    """The stills that the sources of one command have taken: whichever offers one first takes it.

    `of_all_feeds` also the stills that any feed has accepted are known: where feeds are named after their sources, a
    file is one picture however its path was given.
    """

    def __init__(self, *, of_all_feeds: bool) -> None:
        self.of_all_feeds = of_all_feeds
        self._taken: set[bytes] = set()

    def take(self, position: str) -> bool:
        """Whether the picture was not taken yet."""
        digest = blake2b(position.encode(), digest_size=16).digest()
        is_new = digest not in self._taken
        self._taken.add(digest)
        return is_new


async def accepted_frames(
    transport: Transport, tenant: str, feed: str, *, of_all_feeds: bool = False
) -> AcceptedFrames:
    """The feed's frames and recordings; other feeds' frames `of_all_feeds`. Raises Unavailable, PlanError."""
    accepted, older = AcceptedFrames(), await OlderFrames.load(transport)
    prefix = f"{tenant}/" if of_all_feeds else f"{tenant}/{feed}/"
    async for record in read_topic(transport, ACCEPTED, page_records=_PAGE_RECORDS):
        if not record.key.startswith(prefix.encode()):
            continue
        if record.value is None:
            accepted.lost.pop(_lost_id(record.key), None)
            continue
        if (listed := _decoded(record)) is None:
            continue
        older.add(listed, record)
        if listed.lost:
            lost = LostOriginal(listed.lost, listed.feed, listed.lost_uri)
            accepted.lost[id_bytes(listed.lost)] = lost
            continue
        if listed.feed != feed:
            accepted.others.setdefault(listed.feed, set()).update(_ids(listed))
            continue
        accepted.own.update(_ids(listed))
        accepted.recordings += [listed.recording] if listed.recording is not None else []
    accepted.taken = older.taken
    return accepted


@dataclass(slots=True)
class OlderFrames:
    """Accepted frames that retention has taken, or would take: accepted last before the moment that `trimmed` names.

    Kept ones are none of them.
    """

    _trimmed: TrimmedFeeds
    _kept: KeptFrames
    _older: set[bytes] = field(default_factory=set)
    _newer: set[bytes] = field(default_factory=set)

    @classmethod
    async def load(cls, transport: Transport) -> OlderFrames:
        """Raises Unavailable."""
        older = cls(TrimmedFeeds(transport), KeptFrames(transport))
        await older._trimmed.catch_up()
        await older._kept.catch_up()
        return older

    def add(self, listed: Accepted, record: Record) -> None:
        """In any order: a frame may be listed more than once."""
        if self._trimmed.before(listed.tenant, listed.feed) is not None:
            is_older = self._trimmed.took(listed.tenant, listed.feed, _listed_at(record))
            (self._older if is_older else self._newer).update(_ids(listed))

    @property
    def taken(self) -> set[bytes]:
        return self._older - self._newer - {id_bytes(frame) for frame in self._kept.frames}


async def taken_of_accepted(transport: Transport) -> set[str]:
    """Every accepted frame that is older than what retention keeps of its feed. Raises Unavailable, PlanError."""
    older = await OlderFrames.load(transport)
    async for record in read_topic(transport, ACCEPTED, page_records=_PAGE_RECORDS):
        if record.value is not None and (listed := _decoded(record)) is not None:
            older.add(listed, record)
    return {str(UUID(bytes=frame)) for frame in older.taken}


@dataclass(frozen=True, slots=True)
class AcceptedFrame:
    frame: str
    tenant: str
    feed: str
    uri: str
    """Of the original's blob; empty: unknown, an older Sightline accepted it."""


async def every_accepted_frame(transport: Transport) -> AsyncIterator[AcceptedFrame]:
    """Of every tenant and feed. Raises Unavailable, PlanError."""
    async for record in read_topic(transport, ACCEPTED, page_records=_PAGE_RECORDS):
        if record.value is not None and (listed := _decoded(record)) is not None:
            for frame, uri in zip(_ids(listed), _uris(listed), strict=False):
                yield AcceptedFrame(str(UUID(bytes=frame)), listed.tenant, listed.feed, uri)


async def feeds_of_accepted(transport: Transport) -> dict[str, tuple[str, str]]:
    """Tenant and feed of every frame that any source has accepted. Raises Unavailable, PlanError."""
    feeds: dict[str, tuple[str, str]] = {}
    async for record in read_topic(transport, ACCEPTED, page_records=_PAGE_RECORDS):
        if record.value is not None and (listed := _decoded(record)) is not None:
            feeds |= {str(UUID(bytes=frame)): (listed.tenant, listed.feed) for frame in _ids(listed)}
    return feeds


def _decoded(record: Record) -> Accepted | None:
    try:
        return codec.decode_accepted(record.value, record.headers)
    except SchemaError:
        return None  # of another producer, or a newer Sightline's: its frames are written again, under the same ids


def _listed_at(record: Record) -> datetime:
    """By the clock that the frames' own times are of."""
    try:
        return cloudevents.time(record.headers) or utc(record.timestamp)
    except SchemaError:
        return utc(record.timestamp)


def _ids(accepted: Accepted) -> Iterable[bytes]:
    frames = accepted.frames
    return (frames[start : start + _ID_BYTES] for start in range(0, len(frames), _ID_BYTES))


def _uris(accepted: Accepted) -> Iterable[str]:
    if not accepted.pictures:
        return repeat("")
    day, pictures = date.fromisoformat(accepted.day), accepted.pictures
    digests = (pictures[start : start + _DIGEST_BYTES] for start in range(0, len(pictures), _DIGEST_BYTES))
    return (blob_uri(accepted.tenant, accepted.feed, day, digest.hex()) for digest in digests)


def acceptance_record(
    tenant: str, feed: str, frames: Sequence[str], now_seconds: float, uris: Sequence[str] = ()
) -> NewRecord:
    """The record of `frames` (ids, at least one) being on `frames.raw`, with the blobs of their originals, of one day.

    The blobs are what finds a frame's picture by its id once log and index have dropped it.
    """
    accepted = Accepted(
        tenant=tenant,
        feed=feed,
        frames=b"".join(map(id_bytes, frames)),
        pictures=b"".join(bytes.fromhex(uri.rpartition("/")[2]) for uri in uris),
        day=day_of(uris[0]).isoformat() if uris else "",
    )
    return _record(accepted, frames[0], now_seconds)


def recording_record(tenant: str, feed: str, recording: Recording, now_seconds: float) -> NewRecord:
    """The record of a video file whose frames follow."""
    accepted = Accepted(tenant=tenant, feed=feed, frames=b"", recording=recording)
    return _record(accepted, frame_id(tenant, feed, f"recording:{recording.sha256}"), now_seconds)


def lost_record(tenant: str, lost: LostOriginal, now_seconds: float) -> NewRecord:
    """The mark of a frame that the next ingest of its source makes whole again."""
    accepted = Accepted(tenant=tenant, feed=lost.feed, frames=b"", lost=lost.frame, lost_uri=lost.uri)
    return _record(accepted, f"{_LOST}{lost.frame}", now_seconds)


def whole_record(tenant: str, lost: LostOriginal) -> NewRecord:
    """The tombstone of such a mark."""
    return NewRecord(ACCEPTED, f"{tenant}/{lost.feed}/{_LOST}{lost.frame}".encode(), None)


def _lost_id(key: bytes) -> bytes:
    """Of the frame that a mark's key names; empty for any other key."""
    name = key.rpartition(b"/")[2].decode(errors="replace")
    try:
        return id_bytes(name.removeprefix(_LOST)) if name.startswith(_LOST) else b""
    except ValueError:
        return b""


def _record(accepted: Accepted, key_end: str, now_seconds: float) -> NewRecord:
    tenant, feed = accepted.tenant, accepted.feed
    record_headers = headers(ACCEPTED_TYPE, tenant=tenant, feed=feed, frame=key_end, time=utc(now_seconds))
    return NewRecord(ACCEPTED, f"{tenant}/{feed}/{key_end}".encode(), codec.encode_accepted(accepted), record_headers)
