"""What the topics say of frames that are to be erased: their blobs, their records, and who else cites these blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from schemas import topics
from schemas.events import Deletion
from schemas.pictures import feed_of_source
from stores.blobs import SCHEME, THUMBNAIL
from streams.errors import Unavailable
from streams.lifecycle.citations import Citation, Place, citation_of, is_original, may_concern
from streams.lifecycle.deletions import Deletions
from streams.retry import Retry
from streams.topic_reader import TopicReader
from streams.transport import Partition, Record, Transport


@dataclass(slots=True)
class DueFrames:
    """Frames that are due, by id, and what the last `read` has found out. Outages are waited out."""

    due: Mapping[str, Deletion]
    deletions: Deletions
    transport: Transport
    retry: Retry
    blobs: dict[str, set[str]] = field(init=False)
    """Of each frame. Blobs that a deletion names outside the frame's feed are ignored."""
    places: dict[str, set[Place]] = field(default_factory=dict)
    """Where each frame's records are, and the records which its dead letters are about."""
    shared: set[str] = field(default_factory=set)
    """The blobs that another frame, which is not deleted, cites."""
    _all: set[str] = field(default_factory=set)
    _readers: dict[str, TopicReader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blobs = {frame: set(_within_feed(deletion)) for frame, deletion in self.due.items()}
        for frame, uris in self.blobs.items():
            self._add(frame, tuple(uris))

    async def read(self) -> None:
        """Read the records that earlier calls did not read.

        Deletions name nearly all blobs. Where records name more, all records are read again: other frames may cite
        these.
        """
        known = len(self._all)
        await self._read_new()
        if len(self._all) > known:
            self._readers.clear()
            await self._read_new()
        self.shared |= {uri + THUMBNAIL for uri in self.shared} & self._all

    async def _read_new(self) -> None:
        async for citation in self._citations():
            if citation.frame in self.blobs:
                self._add(citation.frame, citation.uris)
                self.places.setdefault(citation.frame, set()).update(await self._places(citation))
            elif citation.frame not in self.deletions:
                self.shared |= citation.uris & self._all

    def _add(self, frame: str, uris: Iterable[str]) -> None:
        # A worker that was killed leaves a thumbnail that no event names.
        named = {*uris, *(uri + THUMBNAIL for uri in uris if not uri.endswith(THUMBNAIL))}
        self.blobs[frame] |= named
        self._all |= named

    async def _citations(self) -> AsyncIterator[Citation]:
        """Of the records of the deletions' feeds on all topics, those that concern the frames or their blobs."""
        feeds = {(deletion.tenant, deletion.feed) for deletion in self.due.values()}
        names, unknown = {feed for _, feed in feeds}, {tenant for tenant, feed in feeds if not feed}
        log = _RetryingLog(self.transport, self.retry)
        for topic in await self.retry.forever("broker", self.transport.topics, Unavailable):
            if topics.carries_frames(topic):
                async for record in self._readers.setdefault(topic, TopicReader(log, topic)).new_records():
                    source = record.headers.get("ce_source", b"").decode(errors="replace")
                    is_meant = unknown or feed_of_source(source) in names
                    if not is_meant or not may_concern(record, self.blobs, self._all):
                        continue
                    citation = citation_of(record)
                    if citation is not None and (citation.feed in feeds or citation.feed[0] in unknown):
                        yield citation

    async def _places(self, citation: Citation) -> set[Place]:
        """The record's place, and that of the record which a dead letter is about."""
        letter, places = citation.letter, {citation.place}
        if letter is None or not topics.carries_frames(letter.topic):
            return places
        died = Partition(letter.topic, letter.partition)
        found = await _RetryingLog(self.transport, self.retry).read(died, letter.offset, 1)
        return places | {(died, record.offset) for record in found if is_original(record, letter)}


@dataclass(frozen=True, slots=True)
class _RetryingLog:
    """Reads the log, waiting out outages."""

    transport: Transport
    retry: Retry

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        return await self.retry.forever("broker", partial(self.transport.ends, topic), Unavailable)

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        read = partial(self.transport.read, partition, offset, max_records)
        return await self.retry.forever("broker", read, Unavailable)


def _within_feed(deletion: Deletion) -> list[str]:
    prefix = f"{SCHEME}{deletion.tenant}/{deletion.feed}/"
    return [uri for uri in deletion.uris if uri.startswith(prefix)]
