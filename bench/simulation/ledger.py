"""What `bench.year` writes down of every frame, beside the deployment: accepted, ended, deleted."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.simulation.pictures import number_in
from schemas import codec, topics
from schemas.events import FrameEvent
from stores.blobs import BlobStore, blob_uri
from streams.lifecycle.dead_letters import CLOSES_HEADER
from streams.topic_reader import TopicReader
from streams.transport import Transport


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame that was accepted; `number` is that of its picture."""

    id: str
    feed: str
    uri: str
    number: int
    ingested: float
    """Seconds since the epoch."""


@dataclass
class Ledger:
    """Reads the topics before retention drops their records."""

    transport: Transport
    blobs: BlobStore
    accepted: dict[str, LiveFrame] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    deleted: dict[str, float] = field(default_factory=dict)
    """When each frame's deletion was requested."""
    picture_bytes: int = 0
    """Of all originals that were accepted."""

    def __post_init__(self) -> None:
        self._raw = TopicReader(self.transport, topics.RAW)
        self._enriched = TopicReader(self.transport, topics.ENRICHED)
        self._dead = TopicReader(self.transport, topics.DEAD)

    async def read_accepted(self) -> list[LiveFrame]:
        """The frames accepted since the last call."""
        frames = []
        async for record in self._raw.new_records():
            event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
            uri = event.image.uri or blob_uri(event.tenant, event.feed, event.ingested.date(), event.image.sha256)
            frames.append(
                LiveFrame(event.id, event.feed, uri, await self._number(event, uri), event.ingested.timestamp())
            )
        self.accepted |= {frame.id: frame for frame in frames}
        return frames

    async def read_ended(self) -> None:
        async for record in self._enriched.new_records():
            self.ended.add(codec.decode_frame(record.value, record.headers).event.id)
        async for record in self._dead.new_records():
            if CLOSES_HEADER not in record.headers:
                self.ended.add(codec.decode_dead(record.value, record.headers).id)

    def lost(self) -> list[str]:
        """Accepted frames that came to no end."""
        return sorted(self.accepted.keys() - self.ended - self.deleted.keys())

    async def _number(self, event: FrameEvent, uri: str) -> int:
        content = await self.blobs.get(event.tenant, uri)
        self.picture_bytes += len(content)
        return number_in(content)
