"""The blobs of frames that the plan has not finished: what its groups have still to read, followed as it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from schemas import topics
from streams.lifecycle.citations import citation_of
from streams.topic_reader import read_range
from streams.transport import Group, Partition, Transport


@dataclass(slots=True)
class UnfinishedBlobs:
    """`readers` are the groups of the plan, with the topic that each reads; what lies between segments of an earlier
    plan is not finished either, nor what a live member of another group has still to read."""

    transport: Transport
    readers: Mapping[str, str]
    _cited: dict[Partition, deque[tuple[int, int]]] = field(default_factory=dict)
    """Offsets and hashes of URIs: a million of them are a hundred megabytes, as texts they would be three hundred."""
    _read: dict[Partition, tuple[int, int]] = field(default_factory=dict)
    """The offset that was the first unfinished one, and the one behind the last that was read."""
    _hashes: set[int] = field(default_factory=set)
    _arrived: dict[str, str] | None = None

    def __contains__(self, uri: str) -> bool:
        """Never wrongly False; as good as never wrongly True."""
        return hash(uri) in self._hashes

    async def update(self) -> None:
        """Read what came since, and drop what is finished since. Raises Unavailable."""
        await self._update()

    async def arrivals(self) -> Mapping[str, str]:
        """As `update`. Returns the frame of each blob that a record cites which came since, also a finished one."""
        arrived: dict[str, str] = {}
        self._arrived = arrived
        try:
            await self._update()
        finally:
            self._arrived = None
        return arrived

    async def _update(self) -> None:
        existing = await self.transport.topics()
        # Of the deployment alone: a shared cluster has hundreds. One for other models is named GROUP-MODELS.
        groups = await self.transport.groups(min(self.readers, default="").partition(".")[0])
        readers = {topic: group for group, topic in self.readers.items() if topic in existing}
        left_over = [topic for topic in existing if topics.is_between(topic) and topic not in readers]
        for topic in (*readers, *left_over):
            group = groups.get(readers.get(topic, ""))
            for partition, (first, end) in (await self.transport.ends(topic)).items():
                position = None if group is None else group.positions.get(partition)
                unread = [first if position is None else position.next_offset, *_held_by_members(groups, partition)]
                await self._follow(partition, max(first, min(unread)), end)
        self._hashes = {hashed for cited in self._cited.values() for _, hashed in cited}

    async def _follow(self, partition: Partition, first: int, end: int) -> None:
        cited = self._cited.setdefault(partition, deque())
        before, following = self._read.get(partition, (first, first))
        if first < before or end < following:  # a group that was set back, a log that was replaced
            cited.clear()
            following = first
        while cited and cited[0][0] < first:
            cited.popleft()
        start = max(first, following) if self._arrived is None else following
        async for record in read_range(self.transport, partition, start, end):
            if (citation := citation_of(record)) is not None:
                if record.offset >= first:
                    cited.extend((record.offset, hash(uri)) for uri in citation.uris)
                if self._arrived is not None:
                    self._arrived |= dict.fromkeys(citation.uris, citation.frame)
            self._read[partition] = first, record.offset + 1
        self._read[partition] = first, end


def _held_by_members(groups: Mapping[str, Group], partition: Partition) -> Iterator[int]:
    """Where each group with a live member goes on, of the plan or not: another one may fill another collection."""
    for group in groups.values():
        position = group.positions.get(partition)
        if position is not None and position.has_member:
            yield position.next_offset
