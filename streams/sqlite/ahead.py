"""Records that this process has written and its own consumer has yet to read: handed over, not read back from disk.

Each partition held keeps what was published here and lies ahead of its cursor, as far as there is room. Only what has
been synchronised comes here, and only of topics that are not compacted: there the log itself says what is left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streams.sqlite.rows import FIELDS, Share
from streams.transport import Partition, Record

AHEAD_BYTES = 2 << 20
"""A partition's at most: a few batches of small records. What finds no room is read from the log in its turn."""


@dataclass(frozen=True, slots=True)
class RecordRange:
    """Records of one partition that follow each other, from one write."""

    first_offset: int
    timestamp: float
    share: Share

    @property
    def end(self) -> int:
        return self.first_offset + len(self.share.headers)

    def records(self, start: int, stop: int, partition: Partition, epoch: int) -> list[Record]:
        """Those with offsets from `start` to before `stop`."""
        first, last = start - self.first_offset, stop - self.first_offset
        fields = iter(self.share.fields[FIELDS * first : FIELDS * last])
        rows = zip(range(start, stop), fields, fields, fields, self.share.headers[first:last], strict=True)
        return [
            Record(partition, at, epoch, key, value, headers, self.timestamp) for at, key, value, _, headers in rows
        ]


@dataclass(slots=True)
class ReadAheadCache:
    """What lies ahead of one cursor, in offset order, with gaps where other processes wrote."""

    stretches: deque[RecordRange] = field(default_factory=deque)
    size_bytes: int = 0

    def add(self, stretch: RecordRange) -> None:
        size = stretch.share.bytes
        if size + self.size_bytes > AHEAD_BYTES or (self.stretches and self.stretches[-1].end > stretch.first_offset):
            return
        self.stretches.append(stretch)
        self.size_bytes += size

    def passed(self, offset: int) -> None:
        """The cursor stands at `offset` now."""
        while self.stretches and self.stretches[0].end <= offset:
            self.size_bytes -= self.stretches.popleft().share.bytes
