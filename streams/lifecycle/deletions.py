"""Frames that people asked to forget: the compacted topic `deletions`, read at start and followed.

Every sink, replay and reprocess obeys it: such a frame is neither published nor indexed nor dead-lettered again. A
tombstone takes a deletion back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas import cloudevents, codec, topics
from schemas.errors import SchemaError
from schemas.events import Deletion
from stores.pages import pages
from streams.errors import PlanError
from streams.topic_reader import TopicReader
from streams.transport import NewRecord, Partition, Record, Transport

RECORDS_PER_WRITE = 1_000


class Deletions:
    """The ids of deleted frames, as of the last `catch_up`."""

    def __init__(self, transport: Transport) -> None:
        self._frames: dict[str, tuple[Partition, int]] = {}
        self._pending: dict[str, Deletion] = {}
        self._transport, self._reader = transport, TopicReader(transport, topics.DELETIONS)

    def __contains__(self, frame: object) -> bool:
        return frame in self._frames

    def __bool__(self) -> bool:
        return bool(self._frames)

    @property
    def pending(self) -> Mapping[str, Deletion]:
        """By frame, those whose blobs are not yet reported as erased."""
        return self._pending

    async def catch_up(self) -> list[str]:
        """Read new records. Returns the frames deleted since the last call. Raises Unavailable, Forbidden."""
        before = set(self._frames)
        try:
            async for record in self._reader.new_records():
                self._fold(record)
        except PlanError:
            return []  # the topic does not exist yet
        return sorted(self._frames.keys() - before)

    async def latest(self, frame: str) -> Deletion | None:
        """The deletion of a frame as it was at the last `catch_up`, if it is still there. Raises Unavailable."""
        if frame in self._pending:
            return self._pending[frame]
        partition, offset = self._frames[frame]
        for record in await self._transport.read(partition, offset, 1):
            if record.key == frame.encode():
                return codec.decode_deletion(record.value, record.headers)
        fresh = Deletions(self._transport)  # it was written again since, and compacted
        await fresh.catch_up()
        return await fresh.latest(frame) if frame in fresh else None

    def _fold(self, record: Record) -> None:
        if record.value is None:
            frame = record.key.decode(errors="replace")
            self._frames.pop(frame, None)
            self._pending.pop(frame, None)
            return
        try:
            deletion = codec.decode_deletion(record.value, record.headers)
        except SchemaError:
            return  # names no frame
        self._frames[deletion.frame] = (record.partition, record.offset)
        if deletion.erased is None:
            self._pending[deletion.frame] = deletion
        else:
            self._pending.pop(deletion.frame, None)


async def publish_deletions(transport: Transport, deletions: Sequence[Deletion]) -> None:
    """Raises Unavailable, LogFull: the first ones may be written then."""
    for page in pages(deletions, RECORDS_PER_WRITE):
        await transport.publish([deletion_record(deletion) for deletion in page])


def deletion_record(deletion: Deletion) -> NewRecord:
    """The record that requests a deletion, or reports that it was done."""
    headers = cloudevents.headers(
        cloudevents.DELETION_TYPE,
        tenant=deletion.tenant,
        feed=deletion.feed,
        frame=deletion.frame,
        time=deletion.erased or deletion.requested,
    )
    return NewRecord(topics.DELETIONS, deletion.frame.encode(), codec.encode_deletion(deletion), headers)
