"""Finding the frame that kills the process: starts without progress are counted beside the committed position.

The count is made durable before a partition's first frame is computed, and is back at zero with the first commit.
After `isolate_after` starts without progress frames run singly. Each carries a mark while it is computed and written,
and at no other time; a process that dies meanwhile leaves it behind, and a frame under which the process died
`DEATHS_ALONE` times is the culprit. Frames go on running singly until `window` of them are through: a start that
follows one without progress takes no more than that until something is committed, so the culprit is among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.transport import Partition, Position, Record

DEATHS_ALONE = 3
"""A kill from outside may happen to hit this frame while it is marked; three in a row, with pauses between, do not."""


@dataclass(slots=True)
class _Assignment:
    position: Position
    """As it was found, then as it was last made durable."""
    single_until: int
    """Offsets below this run singly."""
    marked: bool = False
    """This start is counted in the position: as one without progress, or as the death of the frame that runs alone."""
    proven: bool = True
    """Whether a start has got past this position, or none was tried."""


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
        """The marks of these partitions, taken back: the start ended in peace, or the frame alone did no harm."""
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
        """Whether some partition saw a start without progress and none since: take no more than `window` frames."""
        return not all(known.proven for known in self._assigned.values())

    @property
    def suspicious(self) -> bool:
        """Whether any record can be a suspect: mostly not, and then none needs to be asked."""
        return any(known.position.next_offset < known.single_until for known in self._assigned.values())

    def suspects(self, record: Record) -> bool:
        """Whether this record must run alone: the process dies as a whole, so nothing else may run beside it."""
        known = self._assigned.get(record.partition)
        return known is not None and record.offset < known.single_until

    def is_deadly(self, partition: Partition) -> bool:
        """Whether a culprit can be among this partition's records at all."""
        known = self._assigned.get(partition)
        return known is not None and known.position.attempts >= DEATHS_ALONE

    def is_poison(self, record: Record) -> bool:
        """The record ran alone, marked, and the process died; `DEATHS_ALONE` times."""
        return self.deaths(record) >= DEATHS_ALONE

    def deaths(self, record: Record) -> int:
        """How often in a row the process died while this record ran alone."""
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
            if known is not None and not known.marked and (position := self._one_more(known, record)) is not None:
                known.position, known.marked = position, True
                marks[record.partition] = position
        return marks

    def _one_more(self, known: _Assignment, record: Record) -> Position | None:
        """None: not to be counted, because what stands at the position is a suspect that waits for its original."""
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
