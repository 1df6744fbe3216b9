"""Frames that must be forgotten: the compacted topic `deletions`, read at start and followed.

Every sink, replay and reprocess obeys it: such a frame is neither published nor indexed nor dead-lettered again. A
tombstone takes a deletion back.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas import codec, topics
from schemas.errors import SchemaError
from schemas.events import Deletion
from streams.transport import Partition, Record, Transport

PAGE_RECORDS = 256


class Deletions:
    """The ids of deleted frames, as of the last `catch_up`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._frames: set[str] = set()
        self._pending: dict[str, Deletion] = {}
        self._next: dict[Partition, int] = {}

    def __contains__(self, frame: str) -> bool:
        return frame in self._frames

    def __bool__(self) -> bool:
        return bool(self._frames)

    @property
    def pending(self) -> Mapping[str, Deletion]:
        """By frame, those whose blobs nobody has said to be erased."""
        return self._pending

    async def catch_up(self) -> list[str]:
        """Read what is new; returns the frames deleted since the last call. Raises Unavailable."""
        if topics.DELETIONS not in await self._transport.topics():
            return []
        before = set(self._frames)
        for partition, (first, end) in (await self._transport.ends(topics.DELETIONS)).items():
            offset = max(first, self._next.get(partition, 0))
            while offset < end:
                page = await self._transport.read(partition, offset, PAGE_RECORDS)
                for record in page:
                    self._fold(record)
                offset = page[-1].offset + 1 if page else end
            self._next[partition] = offset
        return sorted(self._frames - before)

    def _fold(self, record: Record) -> None:
        if record.value is None:
            frame = record.key.decode(errors="replace")
            self._frames.discard(frame)
            self._pending.pop(frame, None)
            return
        try:
            deletion = codec.decode_deletion(record.value, record.headers)
        except SchemaError:
            return  # names no frame that could be forgotten
        self._frames.add(deletion.frame)
        if deletion.erased is None:
            self._pending[deletion.frame] = deletion
        else:
            self._pending.pop(deletion.frame, None)
