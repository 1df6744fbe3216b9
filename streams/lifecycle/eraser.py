"""Erases the blobs of deleted frames: their originals and thumbnails, unless another frame has the same picture.

Blobs are named by content, so two frames may share one. Who cites a blob is looked up where frames are cited: on the
topics as far as retention reaches, and in the index. See `docs/decisions/060-erasing-blobs.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import structlog
from msgspec.structs import replace

from schemas import cloudevents, codec, points, topics
from schemas.errors import SchemaError
from schemas.events import Deletion
from stores.blobs import SCHEME, blob_uri
from stores.errors import Refused, StoreUnavailable
from stores.index import Filter, Match
from streams.backends import Backends
from streams.clock import Clock
from streams.errors import LogFull, Unavailable
from streams.lifecycle.dead_letters import ANSWERS_HEADER
from streams.lifecycle.deletions import PAGE_RECORDS, Deletions
from streams.retry import Retry
from streams.transport import NewRecord, Record

log = structlog.get_logger()
T = TypeVar("T")
SETTLE_WATCHES = 5
"""A worker that hears of deletions once in `watch_seconds` has certainly heard of one after so many."""
PAYLOAD = ("uri", "thumbnail")
"""Where a point cites its frame's blobs."""
AT_ONCE = 256
"""Frames erased in one pass over the topics."""


@dataclass(slots=True)
class Eraser:
    """Erases what is due. One worker of a deployment does it, though two would do no harm.

    It waits a while after it hears of a deletion: by then every worker, which looks every `watch_seconds`, knows too
    and writes nothing more of the frame, and what it wrote before stands on the topics.
    """

    backends: Backends
    deletions: Deletions
    retry: Retry
    clock: Clock
    watch_seconds: float
    _noted: dict[str, float] = field(default_factory=dict)
    """When (monotonic) the blobs of a frame's points were written down here: what they hid is known from then on."""

    async def note(self, frames: Sequence[str]) -> None:
        """Write down which blobs the points of deleted frames cite, before these points are deleted.

        On `deletions` itself: another worker may be the one that erases, or this one may not live that long.
        """
        pending = [frame for frame in frames if frame in self.deletions.pending]
        for at in range(0, len(pending), AT_ONCE):
            asked = (frame for frame in pending[at : at + AT_ONCE] if frame in self.deletions.pending)
            await self._note({frame: self.deletions.pending[frame] for frame in asked})

    async def _note(self, asked: Mapping[str, Deletion]) -> None:
        cited: dict[str, set[str]] = {}
        for collection in await self._frame_collections():
            for hit in await self._ask_index(partial(self.backends.index.get, collection, tuple(asked))):
                cited.setdefault(hit.id, set()).update(str(hit.payload.get(name) or "") for name in PAYLOAD)
        known = {frame: {*asked[frame].uris, *uris} - {""} for frame, uris in cited.items()}
        told = [replace(asked[frame], uris=tuple(sorted(uris))) for frame, uris in known.items()]
        await self._tell([deletion for deletion in told if set(deletion.uris) > set(asked[deletion.frame].uris)])
        self._noted |= dict.fromkeys(asked, self.clock.monotonic())

    async def _tell(self, deletions: Sequence[Deletion]) -> None:
        if deletions:
            said = [deletion_record(deletion) for deletion in deletions]
            await self.retry.forever("broker", lambda: self.backends.transport.publish(said), (Unavailable, LogFull))

    async def erase(self) -> int:
        """Erase what is due, and say so on `deletions`; how many frames that were."""
        pending = self.deletions.pending
        await self.note([frame for frame in pending if frame not in self._noted])
        self._noted = {frame: noted for frame, noted in self._noted.items() if frame in pending}
        settled = self.clock.monotonic() - SETTLE_WATCHES * self.watch_seconds
        due = [frame for frame, noted in self._noted.items() if noted <= settled][:AT_ONCE]
        if due:
            now = Deletions(self.backends.transport)  # with what others have noted since
            await self.retry.forever("broker", now.catch_up, Unavailable)
            await self._erase({frame: now.pending[frame] for frame in due if frame in now.pending})
        return len(due)

    async def _erase(self, due: Mapping[str, Deletion]) -> None:
        own = await self._own(due)
        shared = await self._shared({uri for uris in own.values() for uri in uris}, due)
        due = {frame: deletion for frame, deletion in due.items() if frame in self.deletions.pending}  # not taken back
        for frame, deletion in due.items():
            for uri in own[frame] - shared:
                await self._delete(deletion.tenant, uri)
        erased = datetime.fromtimestamp(self.clock.now(), UTC)
        await self._tell([replace(deletion, erased=erased) for deletion in due.values()])
        gone = sum(len(uris - shared) for uris in own.values())
        log.info("erased", frames=len(due), blobs=gone, shared=len(shared))

    async def _own(self, due: Mapping[str, Deletion]) -> dict[str, set[str]]:
        """The blobs of each frame; what a deletion names outside of the frame's own feed is not looked at."""
        own = {frame: {uri for uri in deletion.uris if _within(uri, deletion)} for frame, deletion in due.items()}
        async for frame, uris in self._cited(due.values()):
            if frame in own:
                own[frame] |= uris
        return own

    async def _shared(self, uris: set[str], due: Mapping[str, Deletion]) -> set[str]:
        """Those that a frame cites which nobody deleted."""
        shared: set[str] = set()
        if not uris:
            return shared
        async for frame, cited in self._cited(due.values()):
            if frame not in self.deletions:
                shared |= cited & uris
        others = Match(field="frame", any_of=tuple(due))
        for collection in await self._frame_collections():
            for uri in sorted(uris - shared):
                for name in PAYLOAD:
                    where = Filter(must=(Match(field=name, any_of=(uri,)),), must_not=(others,))
                    if await self._ask_index(partial(self.backends.index.count, collection, where)):
                        shared.add(uri)
        return shared

    async def _cited(self, deletions: Iterable[Deletion]) -> AsyncIterator[tuple[str, set[str]]]:
        """Frames of the deletions' feeds on all topics, each time with the blobs that it cites there."""
        feeds = {(deletion.tenant, deletion.feed) for deletion in deletions}
        names = {feed.encode() for _, feed in feeds}
        for topic in await self.retry.forever("broker", self.backends.transport.topics, Unavailable):
            if topics.carries_frames(topic):
                async for record in self._records(topic):
                    source = record.headers.get("ce_source", b"").rstrip(b"/").rpartition(b"/")[2]
                    if source in names and (found := _citation(record, feeds)) is not None:
                        yield found

    async def _records(self, topic: str) -> AsyncIterator[Record]:
        ends = await self.retry.forever("broker", partial(self.backends.transport.ends, topic), Unavailable)
        for partition, (first, end) in ends.items():
            offset = first
            while offset < end:
                read = partial(self.backends.transport.read, partition, offset, PAGE_RECORDS)
                if not (page := await self.retry.forever("broker", read, Unavailable)):
                    break
                for record in page:
                    yield record
                offset = page[-1].offset + 1

    async def _frame_collections(self) -> list[str]:
        found = await self._ask_index(self.backends.index.collections)
        return sorted(name for name in found if points.holds_frames(name))

    async def _ask_index(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self.retry.forever("index", ask, StoreUnavailable)

    async def _delete(self, tenant: str, uri: str) -> None:
        try:
            await self.retry.forever("blobs", partial(self.backends.blobs.delete, tenant, uri), StoreUnavailable)
        except Refused as wrong:
            log.warning("not erased", why=str(wrong))  # somebody else's, or no blob: nothing of this frame


def _within(uri: str, deletion: Deletion) -> bool:
    return uri.startswith(f"{SCHEME}{deletion.tenant}/{deletion.feed}/")


def _citation(record: Record, feeds: set[tuple[str, str]]) -> tuple[str, set[str]] | None:
    """The frame and its blobs; None for what is no frame of these feeds."""
    try:
        if record.partition.topic == topics.DEAD:
            if ANSWERS_HEADER in record.headers:
                return None
            letter = codec.decode_dead(record.value, record.headers)
            return letter.id, {letter.uri} - {""}
        event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
    except SchemaError:
        return None
    if (event.tenant, event.feed) not in feeds:
        return None
    image = event.image
    uri = image.uri or blob_uri(event.tenant, event.feed, event.ingested.date(), image.sha256)
    return event.id, {uri, image.thumbnail} - {""}


def deletion_record(deletion: Deletion) -> NewRecord:
    """The record that asks for a deletion, or says that it was obeyed."""
    headers = cloudevents.headers(
        cloudevents.DELETION_TYPE,
        tenant=deletion.tenant,
        feed=deletion.feed,
        frame=deletion.frame,
        time=deletion.erased or deletion.requested,
    )
    return NewRecord(topics.DELETIONS, deletion.frame.encode(), codec.encode_deletion(deletion), headers)
