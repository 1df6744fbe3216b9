"""Finds the frames that a request to erase means: by id, feed, time or picture, as long as a byte of them is left.

One pass over the topics and one over the index, however many frames are meant. Pictures that no record, dead letter or
point cites (an ingest was killed, or log and index have dropped their frame) are found in the blob store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from schemas import points, topics
from schemas.identity import frame_id
from stores.blobs import SCHEME, THUMBNAIL, StoredBlob
from stores.index import Filter, Match
from stores.pages import PAGE_POINTS, pages, point_pages
from streams.backends import Backends
from streams.lifecycle.accepted_frames import every_accepted_frame
from streams.lifecycle.citations import citation_of, may_concern
from streams.lifecycle.kept_frames import KeptFrames
from streams.topic_reader import read_topic

UNCITED_SECONDS = 600.0
"""A picture is stored before its record: a younger one may be that of a frame that is just being accepted."""
URIS_PER_REQUEST = 100
MOST_FEEDS = 1000
"""That are named where a selected one does not exist."""
LOG, DEAD, INDEX, KEPT = "on the log", "dead-lettered", "in the index", "kept"
ACCEPTED, PICTURE = "accepted", "a picture alone"


class FrameSelection(Struct, frozen=True, kw_only=True):
    """Frames of a tenant that meet every condition; without a condition all of them."""

    tenant: str
    frames: frozenset[str] = frozenset()
    feeds: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    """Before it. Times are those of capture, else of ingestion; of a picture alone, when it was stored."""
    sha256: str = ""
    """Of the original, in hexadecimal."""

    def takes(self, frame: str, tenant: str, feed: str, when: datetime | None, sha256: str) -> bool:
        if tenant != self.tenant or (self.frames and frame not in self.frames):
            return False
        if self.feeds and feed not in self.feeds:
            return False
        if (self.since or self.until) and (when is None or not self._within(when)):
            return False
        return not self.sha256 or sha256 == self.sha256

    def _within(self, when: datetime) -> bool:
        return (self.since is None or when >= self.since) and (self.until is None or when < self.until)

    def as_filter(self) -> Filter:
        """What an index can tell of it."""
        must = [Match(field="tenant", any_of=(self.tenant,))]
        must += [Match(field="feed", any_of=tuple(sorted(self.feeds)))] if self.feeds else []
        return Filter(must=tuple(must))


@dataclass(slots=True)
class FoundFrame:
    feed: str
    uris: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    """Where something of it lies."""


@dataclass(slots=True)
class FoundFrames:
    frames: dict[str, FoundFrame] = field(default_factory=dict)
    cited: set[str] = field(default_factory=set)
    """Blobs that any frame cites; where ids are selected, not all of them."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Selected ids that are another tenant's: the tenant, by frame."""
    feeds: set[str] = field(default_factory=set)
    """Of the tenant, as log and index have them."""
    young: int = 0
    """Pictures without a frame that are so new that one may be on its way; they are not among the frames."""

    def add(self, frame: str, feed: str, uris: Iterable[str], place: str) -> None:
        found = self.frames.setdefault(frame, FoundFrame(feed))
        found.uris |= set(uris) - {""}
        found.places.add(place)

    def note_tenant(self, frame: str, tenant: str, selection: FrameSelection) -> None:
        if tenant != selection.tenant and frame in selection.frames:
            self.elsewhere[frame] = tenant


async def find_frames(backends: Backends, selection: FrameSelection, now: float) -> FoundFrames:
    """`now` is in seconds since the epoch. Raises Unavailable, StoreUnavailable."""
    found = FoundFrames()
    await _on_topics(backends, selection, found)
    await _in_index(backends, selection, found)
    await _among_kept(backends, selection, found)
    if selection.frames - found.frames.keys():
        await _among_accepted(backends, selection, found)
    if not selection.frames:
        await _pictures_alone(backends, selection, found, now)
    return found


async def _on_topics(backends: Backends, selection: FrameSelection, found: FoundFrames) -> None:
    for topic in sorted(filter(topics.carries_frames, await backends.transport.topics())):
        place = DEAD if topic == topics.DEAD else LOG
        async for record in read_topic(backends.transport, topic):
            if selection.frames and not may_concern(record, selection.frames, ()):
                continue
            if (citation := citation_of(record)) is None:
                continue
            found.cited |= citation.uris
            tenant, feed = citation.feed
            found.note_tenant(citation.frame, tenant, selection)
            found.feeds |= {feed} if tenant == selection.tenant else set()
            if selection.takes(citation.frame, tenant, feed, citation.when, citation.sha256):
                found.add(citation.frame, feed, citation.uris, place)


async def _in_index(backends: Backends, selection: FrameSelection, found: FoundFrames) -> None:
    mine = FrameSelection(tenant=selection.tenant).as_filter()
    for collection in sorted(filter(points.holds_frames, await backends.index.collections())):
        if selection.feeds:
            found.feeds |= set(await backends.index.facet(collection, "feed", where=mine, limit=MOST_FEEDS))
        async for payload in _payloads(backends, collection, selection):
            uris = [str(payload.get(name) or "") for name in ("uri", "thumbnail")]
            found.cited |= set(uris)
            frame, feed = str(payload["frame"]), str(payload.get("feed") or "")
            found.note_tenant(frame, str(payload.get("tenant") or ""), selection)
            if selection.takes(frame, str(payload.get("tenant") or ""), feed, _time(payload), _sha256(uris[0])):
                found.add(frame, feed, uris, INDEX)


async def _payloads(backends: Backends, collection: str, selection: FrameSelection) -> AsyncIterator[dict[str, Any]]:
    if selection.frames:
        for ids in pages(sorted(selection.frames), PAGE_POINTS):
            for hit in await backends.index.get(collection, ids):
                yield hit.payload
        return
    async for page in point_pages(backends.index, collection, selection.as_filter()):
        for hit in page:
            yield hit.payload


async def _among_kept(backends: Backends, selection: FrameSelection, found: FoundFrames) -> None:
    """Kept frames name their pictures when log and index have dropped them."""
    kept = KeptFrames(backends.transport)
    await kept.catch_up()
    for frame, entry in kept.frames.items():
        found.cited |= set(entry.uris)
        sha256 = _sha256(entry.uris[0]) if entry.uris else ""
        if selection.takes(frame, entry.tenant, entry.feed, None, sha256):
            found.add(frame, entry.feed, entry.uris, KEPT)


async def _among_accepted(backends: Backends, selection: FrameSelection, found: FoundFrames) -> None:
    """Frames of which the acceptance is left, and perhaps the picture. A copy of them that comes is refused."""
    if topics.ACCEPTED not in await backends.transport.topics():
        return
    async for each in every_accepted_frame(backends.transport):
        found.note_tenant(each.frame, each.tenant, selection)
        is_alone = each.frame not in found.frames or ACCEPTED in found.frames[each.frame].places
        if is_alone and selection.takes(each.frame, each.tenant, each.feed, None, ""):
            found.add(each.frame, each.feed, (each.uri,), ACCEPTED)


async def _pictures_alone(backends: Backends, selection: FrameSelection, found: FoundFrames, now: float) -> None:
    """A picture without a frame is requested under an id that is made of its name."""
    candidates: set[str] = set()
    for feed in sorted(selection.feeds) or [""]:
        async for blob in backends.blobs.list(selection.tenant, feed):
            if not _is_meant(blob, selection) or blob.uri in found.cited:
                continue
            if now - blob.modified >= UNCITED_SECONDS:
                candidates.add(blob.uri)
            else:
                found.young += 1
    for uri in candidates - await cited_in_index(backends, sorted(candidates)):
        original = uri.removesuffix(THUMBNAIL)
        feed = original.removeprefix(SCHEME).split("/")[1]
        found.add(frame_id(selection.tenant, feed, original), feed, (uri,), PICTURE)


def _is_meant(blob: StoredBlob, selection: FrameSelection) -> bool:
    feed, stored = blob.uri.removeprefix(SCHEME).split("/")[1], datetime.fromtimestamp(blob.modified, UTC)
    return selection.takes("", selection.tenant, feed, stored, _sha256(blob.uri))


async def cited_in_index(backends: Backends, uris: Sequence[str]) -> set[str]:
    """Those of the blobs that a frame's point cites. Raises StoreUnavailable."""
    cited: set[str] = set()
    for collection in filter(points.holds_frames, await backends.index.collections()):
        for page in pages(uris, URIS_PER_REQUEST):
            for name in ("uri", "thumbnail"):
                where = Filter(must=(Match(field=name, any_of=tuple(page)),))
                async for hits in point_pages(backends.index, collection, where):
                    cited |= {str(hit.payload.get(name)) for hit in hits}
    return cited


def _time(payload: dict[str, Any]) -> datetime | None:
    typed = payload.get("captured") or payload.get("ingested")
    return datetime.fromisoformat(typed) if typed else None


def _sha256(uri: str) -> str:
    return uri.removesuffix(THUMBNAIL).rpartition("/")[2]
