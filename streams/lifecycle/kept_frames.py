"""Frames that retention never takes, and up to when it has taken others: the compacted topics `kept` and `trimmed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from schemas import cloudevents, codec, topics
from schemas.errors import SchemaError
from schemas.identity import partition_key
from schemas.retention import Kept, Trimmed
from streams.errors import PlanError
from streams.topic_reader import TopicReader
from streams.transport import NewRecord, Transport


class KeptFrames:
    """As of the last `catch_up`."""

    def __init__(self, transport: Transport) -> None:
        self._frames: dict[str, Kept] = {}
        self._reader = TopicReader(transport, topics.KEPT)

    @property
    def frames(self) -> Mapping[str, Kept]:
        """By frame id."""
        return self._frames

    async def catch_up(self) -> None:
        """Raises Unavailable."""
        try:
            async for record in self._reader.new_records():
                if record.value is None:
                    self._frames.pop(record.key.decode(errors="replace"), None)
                    continue
                try:
                    kept = codec.decode_kept(record.value, record.headers)
                except SchemaError:
                    continue  # names no frame
                self._frames[kept.frame] = kept
        except PlanError:
            return  # the topic does not exist yet


class TrimmedFeeds:
    """As of the last `catch_up`."""

    def __init__(self, transport: Transport) -> None:
        self._before: dict[tuple[str, str], datetime] = {}
        self._reader = TopicReader(transport, topics.TRIMMED)

    @property
    def all(self) -> Mapping[tuple[str, str], datetime]:
        """The moments by tenant and feed."""
        return self._before

    def before(self, tenant: str, feed: str) -> datetime | None:
        """Frames ingested before this moment may have lost their pictures to retention; None: no frame has."""
        return self._before.get((tenant, feed))

    def took(self, tenant: str, feed: str, ingested: datetime) -> bool:
        """Whether retention may have removed the picture of a frame that was ingested then."""
        before = self.before(tenant, feed)
        return before is not None and ingested < before

    async def catch_up(self) -> None:
        """Raises Unavailable."""
        try:
            async for record in self._reader.new_records():
                try:
                    trimmed = codec.decode_trimmed(record.value, record.headers)
                except SchemaError:
                    continue
                self._before[trimmed.tenant, trimmed.feed] = trimmed.before
        except PlanError:
            return  # the topic does not exist yet


class Retained:
    """What retention never takes, and what it has taken: for everything that shows frames."""

    def __init__(self, transport: Transport) -> None:
        self._kept, self._trimmed = KeptFrames(transport), TrimmedFeeds(transport)

    async def kept(self, frame: str) -> Kept | None:
        """The request to keep the frame, if there is one. Raises Unavailable."""
        await self._kept.catch_up()
        return self._kept.frames.get(frame)

    async def why_missing(self, tenant: str, feed: str, frame: str, ingested: datetime) -> str:
        """Why a picture that should be there is not; empty where retention has not taken it. Raises Unavailable."""
        keeps = await self.limit(tenant, feed, ingested)
        return keeps and f"retention removed the picture of frame {frame}: {keeps} ([storage] in the configuration)"

    async def limit(self, tenant: str, feed: str, ingested: datetime) -> str:
        """What retention keeps of the feed; empty where it has not taken frames of then. Raises Unavailable."""
        await self._trimmed.catch_up()
        before = self._trimmed.before(tenant, feed)
        if before is None or not self._trimmed.took(tenant, feed, ingested):
            return ""
        return f"of feed {feed} it keeps pictures from {before:%Y-%m-%d %H:%M} UTC on"


def kept_record(kept: Kept) -> NewRecord:
    headers = cloudevents.headers(
        cloudevents.KEPT_TYPE, tenant=kept.tenant, feed=kept.feed, frame=kept.frame, time=kept.since
    )
    return NewRecord(topics.KEPT, kept.frame.encode(), codec.encode_kept(kept), headers)


async def end_keeping(transport: Transport, frames: Iterable[str]) -> None:
    """Let those of the frames go that are kept. Raises Unavailable, LogFull."""
    kept = KeptFrames(transport)
    await kept.catch_up()
    ends = [NewRecord(topics.KEPT, frame.encode(), None) for frame in frames if frame in kept.frames]
    if ends:
        await transport.publish(ends)


def trimmed_record(trimmed: Trimmed) -> NewRecord:
    key = partition_key(trimmed.tenant, trimmed.feed)
    headers = cloudevents.headers(
        cloudevents.TRIMMED_TYPE,
        tenant=trimmed.tenant,
        feed=trimmed.feed,
        frame=f"{trimmed.tenant}/{trimmed.feed}",
        time=trimmed.before,
    )
    return NewRecord(topics.TRIMMED, key, codec.encode_trimmed(trimmed), headers)
