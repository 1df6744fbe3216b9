"""What of each partition is finished: the contiguous prefix is what may be committed.

Frames finish in any order, and offsets may have holes (compaction, transactions), so a partition's position is the
offset after the longest finished run of *started* frames. Everything is tagged with the assignment's epoch: what was
started before a rebalance cannot count after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from streams.transport import NewRecord, Partition


class PendingCommit(Struct, frozen=True, gc=False):
    """A finished frame's records, held until the commit, and when (Unix time) it was ingested and captured."""

    outgoing: Sequence[NewRecord] = ()
    ingested: float | None = None
    captured: float | None = None


class _Started(Struct, eq=False, gc=False):
    offset: int
    pending: PendingCommit | None = None


@dataclass(slots=True)
class _Assignment:
    epoch: int
    next_offset: int
    leaving: bool = False
    started: deque[_Started] = field(default_factory=deque)
    waiting: dict[int, _Started] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prefix:
    """A finished run that is not committed, in offset order."""

    epoch: int
    next_offset: int
    pending: list[PendingCommit]


class OffsetTracker:
    """Not thread-safe: the event loop's alone."""

    def __init__(self) -> None:
        self._assigned: dict[Partition, _Assignment] = {}

    def assign(self, partition: Partition, epoch: int, next_offset: int) -> None:
        """Begin at `next_offset`; whatever was known of an earlier epoch is forgotten."""
        self._assigned[partition] = _Assignment(epoch, next_offset)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._assigned.pop(partition, None)

    def end(self, partition: Partition, epoch: int) -> None:
        """End this assignment before the transport reports it: frames in flight are late. A newer one goes on."""
        if self.is_current(partition, epoch):
            self.revoke([partition])

    def leave(self, partitions: Iterable[Partition]) -> None:
        """Start nothing more of these: their waiting frames were dropped, and no later record may pass them."""
        for partition in partitions:
            if partition in self._assigned:
                self._assigned[partition].leaving = True

    def epochs(self) -> dict[Partition, int]:
        return {partition: assigned.epoch for partition, assigned in self._assigned.items()}

    def is_current(self, partition: Partition, epoch: int) -> bool:
        assigned = self._assigned.get(partition)
        return assigned is not None and assigned.epoch == epoch

    def takes(self, partition: Partition, epoch: int) -> bool:
        """Whether work of this epoch may still begin: ours, and not leaving."""
        assigned = self._assigned.get(partition)
        return assigned is not None and assigned.epoch == epoch and not assigned.leaving

    def start(self, partition: Partition, epoch: int, offset: int) -> bool:
        """Note that `offset` is in flight. False: of another epoch, leaving, or seen already; drop the record."""
        assigned = self._assigned.get(partition)
        if assigned is None or assigned.epoch != epoch or assigned.leaving or offset < assigned.next_offset:
            return False
        started = assigned.started
        if started and offset <= started[-1].offset:
            return False
        entry = assigned.waiting[offset] = _Started(offset)
        started.append(entry)
        return True

    def finish(self, partition: Partition, epoch: int, offset: int, pending: PendingCommit) -> bool:
        """Count a frame as done, with what its commit releases. False: too late, another epoch has it."""
        assigned = self._assigned.get(partition)
        if assigned is None or assigned.epoch != epoch:
            return False
        entry = assigned.waiting.pop(offset, None)
        if entry is None:
            return False
        entry.pending = pending
        return True

    def first(self, partition: Partition) -> int | None:
        """The first offset that was started and is not committed."""
        assigned = self._assigned.get(partition)
        return assigned.started[0].offset if assigned is not None and assigned.started else None

    def finished(self) -> dict[Partition, Prefix]:
        """The finished runs not committed yet, of every partition that has one. Changes nothing."""
        prefixes = {}
        for partition, assigned in self._assigned.items():
            run = _finished_run(assigned.started)
            if run:
                pending = [entry.pending for entry in run if entry.pending is not None]
                prefixes[partition] = Prefix(assigned.epoch, run[-1].offset + 1, pending)
        return prefixes

    def committed(self, partition: Partition, epoch: int, next_offset: int) -> None:
        """Forget what lies before `next_offset`, which is durable now."""
        assigned = self._assigned.get(partition)
        if assigned is None or assigned.epoch != epoch:
            return
        while assigned.started and assigned.started[0].pending and assigned.started[0].offset < next_offset:
            assigned.started.popleft()
        assigned.next_offset = max(assigned.next_offset, next_offset)

    def in_flight(self) -> int:
        """Frames started and not committed."""
        return sum(len(assigned.started) for assigned in self._assigned.values())

    def unfinished(self, partitions: Iterable[Partition] | None = None) -> int:
        """Frames started and not finished, of `partitions` or of all."""
        chosen = self._assigned if partitions is None else partitions
        return sum(len(self._assigned[partition].waiting) for partition in chosen if partition in self._assigned)


def _finished_run(started: Iterable[_Started]) -> list[_Started]:
    run = []
    for entry in started:
        if entry.pending is None:
            break
        run.append(entry)
    return run
