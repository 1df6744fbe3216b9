"""Finds the poison frame, the one that kills the process, by counting starts without progress.

The count is kept beside the committed position. It is durable before a partition's first frame is computed, and back
at zero with the first commit. After `isolate_after` starts without progress, frames run singly. Such a frame carries
a crash mark while it is computed and written, and at no other time; a process that dies meanwhile leaves the mark
behind. A frame under which the process died `DEATHS_ALONE` times is the poison frame. Frames run singly until
`window` of them are done: a start after one without progress takes at most that many until something is committed,
so the poison frame is among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.transport import Partition, Position, Record

DEATHS_ALONE = 3
"""A kill from outside may hit this frame by chance while it is marked; three in a row, with pauses between, do not."""


@dataclass(slots=True)
class _Assignment:
    position: Position
    """As it was read, then as it was last made durable."""
    single_until: int
    """Offsets below this run singly."""
    marked: bool = False
    """This start is counted in the position: as one without progress, or as the death of the frame that runs alone."""
    proven: bool = True
    """A start has passed this position, or none was tried."""


class CrashTracker:
    def __init__(self, isolate_after: int, window: int) -> None:
        self._isolate_after = isolate_after
        self.window = window
        self._assigned: dict[Partition, _Assignment] = {}

    def assign(self, partition: Partition, position: Position) -> None:
        suspicious = position.attempts >= self._isolate_after
        until = position.next_offset + (self.window if suspicious else 0)
        self._assigned[partition] = _Assignment(position, until, proven=position.attempts == 0)

    def knows(self, partition: Partition) -> bool:
        return partition in self._assigned

    def revoke(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._assigned.pop(partition, None)

    def unmarked(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """Positions with the crash marks of these partitions taken back: a clean stop, or a frame that survived."""
        positions = {}
        for partition in partitions:
            known = self._assigned.get(partition)
            if known is not None and known.marked and known.position.attempts > 0:
                attempts = min(known.position.attempts - 1, self._isolate_after)
                known.position = Position(known.position.next_offset, attempts)
                known.marked = False
                positions[partition] = known.position
        return positions

    @property
    def unproven(self) -> bool:
        """Whether some partition had a start without progress and none since: take at most `window` frames."""
        return not all(known.proven for known in self._assigned.values())

    @property
    def suspicious(self) -> bool:
        """Whether any record can be a suspect; mostly not, and then no record needs to be looked up."""
        return any(known.position.next_offset < known.single_until for known in self._assigned.values())

    def suspects(self, record: Record) -> bool:
        """Whether this record must run alone: the process dies as a whole, so nothing may run beside it."""
        known = self._assigned.get(record.partition)
        return known is not None and record.offset < known.single_until

    def may_hold_poison(self, partition: Partition) -> bool:
        """Whether the poison frame can be among this partition's records at all."""
        known = self._assigned.get(partition)
        return known is not None and known.position.attempts >= DEATHS_ALONE

    def is_poison(self, record: Record) -> bool:
        """Whether the process died `DEATHS_ALONE` times while this record ran alone, marked."""
        return self.deaths(record) >= DEATHS_ALONE

    def deaths(self, record: Record) -> int:
        """How many times in a row the process died while this record ran alone."""
        known = self._assigned.get(record.partition)
        if known is None or known.marked or record.offset != known.position.next_offset:
            return 0
        return max(0, known.position.attempts - self._isolate_after)

    def mark(self, records: Iterable[Record]) -> dict[Partition, Position]:
        """What has to be durable before `records` are computed; empty when it is already.

        A suspect must be its partition's first record that is not committed: the mark stands at its own offset.
        """
        marks: dict[Partition, Position] = {}
        if all(known.marked for known in self._assigned.values()):
            return marks
        for record in records:
            known = self._assigned.get(record.partition)
            if known is not None and not known.marked and (position := self._counted(known, record)) is not None:
                known.position, known.marked = position, True
                marks[record.partition] = position
        return marks

    def _counted(self, known: _Assignment, record: Record) -> Position | None:
        """The position with one more start. None: the record at the position is a suspect that waits for its
        original, so this start says nothing about it."""
        position = known.position
        if record.offset < known.single_until:
            deaths = position.attempts if record.offset == position.next_offset else 0
            return Position(record.offset, max(deaths, self._isolate_after) + 1)
        if position.next_offset < known.single_until:
            return None
        return Position(position.next_offset, position.attempts + 1)

    def position(self, partition: Partition, next_offset: int) -> Position:
        """What to commit when everything before `next_offset` is finished."""
        known = self._assigned.get(partition)
        suspicious = known is not None and next_offset < known.single_until
        return Position(next_offset, self._isolate_after if suspicious else 0)

    def committed(self, partition: Partition, position: Position) -> None:
        known = self._assigned.get(partition)
        if known is not None:
            known.position, known.proven = position, True
            known.marked = position.attempts < self._isolate_after
