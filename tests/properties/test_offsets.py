"""The offset tracker against the plainest model of it: sets of offsets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.transport import NewRecord, Partition
from streams.worker.offsets import OffsetTracker, PendingCommit

HERE = Partition("frames.raw", 0)
THERE = Partition("frames.raw", 1)


def output(epoch: int, offset: int) -> PendingCommit:
    return PendingCommit((NewRecord("out", b"%d" % epoch, b"%d" % offset),))


class Tracking(RuleBasedStateMachine):
    """Any order of starts, finishes, commits and rebalances, with holes between offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.epoch = 0
        self.next = 0
        self.started: list[int] = []
        self.finished: set[int] = set()
        self.old: list[tuple[int, int]] = []
        """What earlier epochs had in flight, by epoch."""
        self.assign()

    @rule()
    def assign(self) -> None:
        """A rebalance: the next owner begins at what is committed; here the owner is the same again."""
        self.old += [(self.epoch, offset) for offset in self.started if offset not in self.finished]
        self.epoch += 1
        self.tracker.assign(HERE, self.epoch, self.next)
        self.started, self.finished = [], set()

    @rule(hole=st.integers(0, 3))
    def start(self, hole: int) -> None:
        offset = (self.started[-1] + 1 if self.started else self.next) + hole
        assert self.tracker.start(HERE, self.epoch, offset)
        assert not self.tracker.start(HERE, self.epoch, offset), "a record that was seen counts once"
        assert not self.tracker.start(HERE, self.epoch - 1, offset + 1)
        self.started.append(offset)

    @precondition(lambda self: set(self.started) - self.finished)
    @rule(which=st.integers(0, 99))
    def finish(self, which: int) -> None:
        waiting = sorted(set(self.started) - self.finished)
        offset = waiting[which % len(waiting)]
        assert self.tracker.finish(HERE, self.epoch, offset, output(self.epoch, offset))
        assert not self.tracker.finish(HERE, self.epoch, offset, output(self.epoch, offset))
        self.finished.add(offset)

    @precondition(lambda self: self.old)
    @rule()
    def finish_late(self) -> None:
        epoch, offset = self.old.pop()
        assert not self.tracker.finish(HERE, epoch, offset, output(epoch, offset))

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
        assert bool(run) == (HERE in prefixes)
        if run:
            prefix = prefixes[HERE]
            assert (prefix.epoch, prefix.next_offset) == (self.epoch, run[-1] + 1)
            assert prefix.pending == [output(self.epoch, offset) for offset in run], "outputs in offset order"

    @invariant()
    def counts_what_is_in_flight(self) -> None:
        assert self.tracker.in_flight() == len(self.started)
        assert self.tracker.unfinished() == len(set(self.started) - self.finished)


TestTracking = Tracking.TestCase


@given(st.permutations(range(12)))
def test_partitions_do_not_know_of_each_other(order: list[int]) -> None:
    tracker = OffsetTracker()
    for partition in (HERE, THERE):
        tracker.assign(partition, 1, 0)
        for offset in range(12):
            tracker.start(partition, 1, offset)
    for offset in order:
        tracker.finish(HERE, 1, offset, PendingCommit())
    tracker.finish(THERE, 1, 1, PendingCommit())
    assert {partition: prefix.next_offset for partition, prefix in tracker.finished().items()} == {HERE: 12}
    tracker.revoke([HERE])
    assert not tracker.is_current(HERE, 1)
    assert tracker.unfinished([HERE]) == 0


def test_nothing_more_is_started_of_a_partition_that_is_leaving() -> None:
    """What waited was dropped when its drain began: a record that comes after that would pass it."""
    tracker = OffsetTracker()
    tracker.assign(HERE, 1, 0)
    assert tracker.start(HERE, 1, 0)
    tracker.leave([HERE])
    assert not tracker.start(HERE, 1, 1)
    assert tracker.finish(HERE, 1, 0, PendingCommit()), "what was begun is finished and committed"
    assert tracker.finished()[HERE].next_offset == 1
    tracker.assign(HERE, 2, 1)
    assert tracker.start(HERE, 2, 1)
