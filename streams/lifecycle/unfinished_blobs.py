"""The blobs of frames that the plan has not finished: what its groups have still to read, followed as it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from os.path import commonprefix

from schemas import topics
from streams.lifecycle.citations import citation_of
from streams.topic_reader import read_range
from streams.transport import Partition, Transport


@dataclass(slots=True)
class UnfinishedBlobs:
    """`readers` are the groups of the plan, with the topic that each reads; what lies between segments of an earlier
    plan is not finished either."""

    transport: Transport
    readers: Mapping[str, str]
    _cited: dict[Partition, deque[tuple[int, int]]] = field(default_factory=dict)
    """Offsets and hashes of URIs: a million of them are a hundred megabytes, as texts they would be three hundred."""
    _read: dict[Partition, tuple[int, int]] = field(default_factory=dict)
    """The offset that was the first unfinished one, and the one behind the last that was read."""
    _hashes: set[int] = field(default_factory=set)

    def __contains__(self, uri: str) -> bool:
        """Never wrongly False; as good as never wrongly True."""
        return hash(uri) in self._hashes

    async def update(self) -> None:
        """Read what came since, and drop what is finished since. Raises Unavailable."""
        existing = await self.transport.topics()
        prefix = commonprefix(sorted(self.readers))  # noqa: RUF071 - of names, not of paths
        groups = await self.transport.groups(prefix)
        readers = {topic: group for group, topic in self.readers.items() if topic in existing}
        left_over = [topic for topic in existing if topics.is_between(topic) and topic not in readers]
        for topic in (*readers, *left_over):
            group = groups.get(readers.get(topic, ""))
            for partition, (first, end) in (await self.transport.ends(topic)).items():
                position = None if group is None else group.positions.get(partition)
                await self._follow(partition, first if position is None else max(first, position.next_offset), end)
        self._hashes = {hashed for cited in self._cited.values() for _, hashed in cited}

    async def _follow(self, partition: Partition, first: int, end: int) -> None:
        cited = self._cited.setdefault(partition, deque())
        before, following = self._read.get(partition, (first, first))
        if first < before or end < following:  # a group that was set back, a log that was replaced
            cited.clear()
            following = first
        while cited and cited[0][0] < first:
            cited.popleft()
        async for record in read_range(self.transport, partition, max(first, following), end):
            if (citation := citation_of(record)) is not None:
                cited.extend((record.offset, hash(uri)) for uri in citation.uris)
            self._read[partition] = first, record.offset + 1
        self._read[partition] = first, end
