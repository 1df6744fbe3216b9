"""Carries out a `RepairPlan`. Each step is whole by itself: an interruption loses nothing, another repair goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from processors.errors import StageError
from processors.headers import Unreadable
from schemas import codec
from schemas.errors import SchemaError
from stores.blobs import THUMBNAIL, check_content, sha256_hex
from stores.errors import Missing, Refused
from stores.index import Filter, Match
from stores.pages import pages
from streams.backends import Backends
from streams.clock import Clock
from streams.lifecycle.accepted_frames import acceptance_record, lost_record
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.known_frames import KnownFrame, Place, raw_record
from streams.lifecycle.repair_plan import Progress, RepairPlan
from streams.transport import NewRecord

T = TypeVar("T")
FRAMES_PER_WRITE = 256
FRAMES_PER_DELETION = 256

MakeThumbnail = Callable[[bytes], bytes | None]
"""The thumbnail of an encoded picture; None: it has none. Raises Unreadable."""


@dataclass(slots=True)
class Repair:
    """`progress` is called after each step; `failed` are frames whose step did not succeed, with the reason."""

    backends: Backends
    clock: Clock
    make_thumbnail: MakeThumbnail
    progress: Progress
    failed: dict[str, str] = field(default_factory=dict)
    _deletions: Deletions | None = None

    async def carry_out(self, plan: RepairPlan) -> None:
        """Raises Unavailable, LogFull, StoreUnavailable: what was done until then stays done."""
        self._deletions = Deletions(self.backends.transport)
        for collection, frames in plan.delete_points.items():
            await self._steps("points deleted", frames, partial(self._delete_points, collection), FRAMES_PER_DELETION)
        await self._steps("originals put back", list(plan.put_back.items()), self._put_back)
        await self._steps("thumbnails", list(plan.thumbnails.items()), partial(self._thumbnails, plan))
        marks = [lost_record(tenant, lost, self.clock.now()) for tenant, lost in plan.lost.values()]
        await self._steps("marks for the next ingest", marks, self.backends.transport.publish, FRAMES_PER_WRITE)
        await self._steps("frames listed", list(self._acceptances(plan)), self.backends.transport.publish)
        unfailed = [event for frame, event in plan.process.items() if frame not in self.failed]
        records = [(event.id, raw_record(event)) for event in unfailed]
        await self._steps("frames to process", records, self._publish, FRAMES_PER_WRITE)
        await self.backends.index.flush()

    async def _steps(
        self, what: str, entries: Sequence[T], step: Callable[[Sequence[T]], Awaitable[None]], size: int = 16
    ) -> None:
        done = 0
        for page in pages(entries, size):
            await step(page)
            done += len(page)
            self.progress(what, done, len(entries))

    async def _delete_points(self, collection: str, frames: Sequence[str]) -> None:
        await self.backends.index.delete(collection, Filter(must=(Match(field="frame", any_of=tuple(frames)),)))

    async def _put_back(self, entries: Sequence[tuple[str, tuple[KnownFrame, Place]]]) -> None:
        for frame, (entry, place) in entries:
            try:
                content = await self._bytes_at(place)
                check_content(entry.uri, content)
            except (SchemaError, Missing, Refused) as error:
                self.failed[frame] = str(error)
                continue
            if await self._may_write(frame):
                await self.backends.blobs.delete(entry.tenant, entry.uri)
                await self.backends.blobs.put(entry.tenant, entry.uri, content)

    async def _bytes_at(self, place: Place) -> bytes:
        """The picture that a record holds. Raises SchemaError, Missing."""
        partition, offset = place
        page = await self.backends.transport.read(partition, offset, 1)
        if not page or page[0].offset != offset:
            raise Missing("its record has expired meanwhile")
        decoded = codec.decode_frame(page[0].value, page[0].headers, appended_seconds=page[0].timestamp)
        content = decoded.picture if decoded.picture is not None else decoded.event.image.inline
        if content is None:
            raise Missing("its record holds no picture")
        return content

    async def _may_write(self, frame: str) -> bool:
        """Whether the frame was not erased meanwhile."""
        if self._deletions is None:
            return True
        await self._deletions.catch_up()
        return frame not in self._deletions

    async def _thumbnails(self, plan: RepairPlan, entries: Sequence[tuple[str, KnownFrame]]) -> None:
        """One that is made differently now has another name, which a new event has to cite: the frame is processed."""
        for frame, entry in entries:
            try:
                original = await self.backends.blobs.get(entry.tenant, entry.uri)
                small = await asyncio.to_thread(self.make_thumbnail, original)
            except (Missing, Refused, Unreadable, StageError) as error:
                self.failed[frame] = str(error)
                continue
            if entry.event is not None and (small is None or not _is_named(entry, small)):
                plan.process[frame] = entry.event
            elif small is not None and await self._may_write(frame):
                await self.backends.blobs.delete(entry.tenant, entry.thumbnail)
                await self.backends.blobs.put(entry.tenant, entry.thumbnail, small)

    def _acceptances(self, plan: RepairPlan) -> Iterator[NewRecord]:
        by_feed: dict[tuple[str, str], list[str]] = {}
        for frame, origin in plan.accepted.items():
            by_feed.setdefault(origin, []).append(frame)
        for (tenant, feed), frames in by_feed.items():
            for page in pages(frames, FRAMES_PER_WRITE):
                yield acceptance_record(tenant, feed, page, self.clock.now())

    async def _publish(self, records: Sequence[tuple[str, NewRecord]]) -> None:
        wanted = [record for frame, record in records if await self._may_write(frame)]
        if wanted:
            await self.backends.transport.publish(wanted)


def _is_named(entry: KnownFrame, thumbnail: bytes) -> bool:
    """Whether these bytes have the name that is cited; thumbnails of earlier versions have their original's."""
    name = entry.thumbnail.removesuffix(THUMBNAIL)
    return name == entry.uri or name.rpartition("/")[2] == sha256_hex(thumbnail)
