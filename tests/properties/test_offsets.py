"""The offset tracker against the simplest model: sets of offsets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.transport import NewRecord, Partition
from streams.worker.offsets import OffsetTracker, PendingCommit

FIRST = Partition("frames.raw", 0)
SECOND = Partition("frames.raw", 1)


def output(epoch: int, offset: int) -> PendingCommit:
    return PendingCommit((NewRecord("out", b"%d" % epoch, b"%d" % offset),))


class Tracking(RuleBasedStateMachine):
    """Any order of starts, finishes, commits and rebalances, with gaps between offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.epoch = 0
        self.next = 0
        self.started: list[int] = []
        self.finished: set[int] = set()
        self.old: list[tuple[int, int]] = []
        """Epoch and offset of what earlier epochs had in flight."""
        self.assign()

    @rule()
    def assign(self) -> None:
        """A rebalance: the next owner starts at the committed offset; here it is the same owner again."""
        self.old += [(self.epoch, offset) for offset in self.started if offset not in self.finished]
        self.epoch += 1
        self.tracker.assign(FIRST, self.epoch, self.next)
        self.started, self.finished = [], set()

    @rule(gap=st.integers(0, 3))
    def start(self, gap: int) -> None:
        offset = (self.started[-1] + 1 if self.started else self.next) + gap
        assert self.tracker.start(FIRST, self.epoch, offset)
        assert not self.tracker.start(FIRST, self.epoch, offset), "a record counts once"
        assert not self.tracker.start(FIRST, self.epoch - 1, offset + 1)
        self.started.append(offset)

    @precondition(lambda self: set(self.started) - self.finished)
    @rule(which=st.integers(0, 99))
    def finish(self, which: int) -> None:
        waiting = sorted(set(self.started) - self.finished)
        offset = waiting[which % len(waiting)]
        assert self.tracker.finish(FIRST, self.epoch, offset, output(self.epoch, offset))
        assert not self.tracker.finish(FIRST, self.epoch, offset, output(self.epoch, offset))
        self.finished.add(offset)

    @precondition(lambda self: self.old)
    @rule()
    def finish_late(self) -> None:
        epoch, offset = self.old.pop()
        assert not self.tracker.finish(FIRST, epoch, offset, output(epoch, offset))

    @rule()
    def commit(self) -> None:
        for partition, prefix in self.tracker.finished().items():
            self.tracker.committed(partition, prefix.epoch, prefix.next_offset)
            self.next = prefix.next_offset
        self.started = [offset for offset in self.started if offset >= self.next]
        self.finished &= set(self.started)

    def expected(self) -> list[int]:
        run = []
        for offset in self.started:
            if offset not in self.finished:
                break
            run.append(offset)
        return run

    @invariant()
    def commits_the_finished_prefix_and_nothing_else(self) -> None:
        run, prefixes = self.expected(), self.tracker.finished()
        assert bool(run) == (FIRST in prefixes)
        if run:
            prefix = prefixes[FIRST]
            assert (prefix.epoch, prefix.next_offset) == (self.epoch, run[-1] + 1)
            assert prefix.pending == [output(self.epoch, offset) for offset in run], "outputs in offset order"

    @invariant()
    def counts_what_is_in_flight(self) -> None:
        assert self.tracker.in_flight() == len(self.started)
        assert self.tracker.unfinished() == len(set(self.started) - self.finished)


TestTracking = Tracking.TestCase


@given(st.permutations(range(12)))
def test_partitions_are_independent(order: list[int]) -> None:
    tracker = OffsetTracker()
    for partition in (FIRST, SECOND):
        tracker.assign(partition, 1, 0)
        for offset in range(12):
            tracker.start(partition, 1, offset)
    for offset in order:
        tracker.finish(FIRST, 1, offset, PendingCommit())
    tracker.finish(SECOND, 1, 1, PendingCommit())
    assert {partition: prefix.next_offset for partition, prefix in tracker.finished().items()} == {FIRST: 12}
    tracker.revoke([FIRST])
    assert not tracker.is_current(FIRST, 1)
    assert tracker.unfinished([FIRST]) == 0


def test_no_record_starts_in_a_partition_that_is_being_revoked() -> None:
    """Waiting frames are dropped when the drain begins; a record that started later would overtake them."""
    tracker = OffsetTracker()
    tracker.assign(FIRST, 1, 0)
    assert tracker.start(FIRST, 1, 0)
    tracker.leave([FIRST])
    assert not tracker.start(FIRST, 1, 1)
    assert tracker.finish(FIRST, 1, 0, PendingCommit()), "a started record is finished and committed"
    assert tracker.finished()[FIRST].next_offset == 1
    tracker.assign(FIRST, 2, 1)
    assert tracker.start(FIRST, 2, 1)
