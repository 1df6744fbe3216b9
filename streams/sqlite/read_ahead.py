"""Records that this process wrote and its own consumer has yet to read: taken from memory, not read back from disk.

Each held partition keeps what was published here and lies ahead of its cursor, up to a size. Only records whose
transaction is synchronized are added, and only of topics that are not compacted: of those the log itself decides what
is left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streams.sqlite.record_batch import FIELDS, PartitionRows
from streams.transport import Partition, Record

READ_AHEAD_BYTES = 2 << 20
"""Per partition: a few batches of small records. What does not fit is read from the log in its turn."""


@dataclass(frozen=True, slots=True)
class RecordRange:
    """Records of one partition with consecutive offsets, from one write."""

    first_offset: int
    timestamp: float
    rows: PartitionRows

    @property
    def end(self) -> int:
        return self.first_offset + len(self.rows.headers)

    def records(self, start: int, stop: int, partition: Partition, epoch: int) -> list[Record]:
        """Those with offsets from `start` to before `stop`."""
        first, last = start - self.first_offset, stop - self.first_offset
        fields = iter(self.rows.fields[FIELDS * first : FIELDS * last])
        rows = zip(range(start, stop), fields, fields, fields, fields, self.rows.headers[first:last], strict=True)
        return [
            Record(partition, offset, epoch, key, value, headers, self.timestamp)
            for offset, key, value, _, _, headers in rows
        ]


@dataclass(slots=True)
class ReadAheadCache:
    """What lies ahead of one cursor, in offset order, with gaps where other processes wrote."""

    ranges: deque[RecordRange] = field(default_factory=deque)
    size_bytes: int = 0

    def add(self, new: RecordRange) -> None:
        """Left out if it does not fit, or if later records are here already."""
        size = new.rows.size_bytes
        if size + self.size_bytes > READ_AHEAD_BYTES or (self.ranges and self.ranges[-1].end > new.first_offset):
            return
        self.ranges.append(new)
        self.size_bytes += size

    def drop_before(self, offset: int) -> None:
        """The cursor has moved to `offset`."""
        while self.ranges and self.ranges[0].end <= offset:
            self.size_bytes -= self.ranges.popleft().rows.size_bytes
