"""Positions, leases and retention of the embedded log under any order of events, against a plain model of them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import suppress

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.errors import Fenced
from streams.sqlite import retention
from streams.sqlite.assignor import assign
from streams.sqlite.catalog import Catalog
from streams.sqlite.groups import AssignmentView, Member, forget, positions
from streams.sqlite.record_batch import FIELDS, Batch
from streams.sqlite.record_rows import offsets, read_rows, to_records
from streams.sqlite.room import make_room
from streams.sqlite.schema import create_tables
from streams.transport import NewRecord, Partition, Position, TopicSpec

MEMBERS = st.sampled_from("abcd")


@given(
    st.dictionaries(st.integers(0, 40), st.one_of(st.none(), MEMBERS)),
    st.sets(MEMBERS, min_size=1),
)
def test_an_assignment_is_even_complete_and_moves_no_more_than_it_must(
    owners: dict[int, str | None], members: set[str]
) -> None:
    assigned = assign(owners, dict.fromkeys(owners, sorted(members)))
    counts = Counter(dict.fromkeys(members, 0)) + Counter(assigned.values())
    sizes = [counts[member] for member in members]
    assert assigned.keys() == owners.keys()
    assert max(sizes) - min(sizes) <= 1
    assert assign(assigned, dict.fromkeys(owners, sorted(members))) == assigned
    kept = sum(assigned[partition] == owner for partition, owner in owners.items())
    held = sorted((sum(owner == member for owner in owners.values()) for member in members), reverse=True)
    least, extra = divmod(len(owners), len(members))
    assert kept == sum(min(count, least + (rank < extra)) for rank, count in enumerate(held))


class LogMachine(RuleBasedStateMachine):
    """One topic of three partitions, one group, four members that join, go silent, hand over, and commit late."""

    spec = TopicSpec("t", 3, retention_seconds=20.0, retention_bytes=600, finished_by=("g",))

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        create_tables(self.connection)
        self.catalog = Catalog()
        self.catalog.create(self.connection, [self.spec])
        self.catalog.load(self.connection)
        self.ids = self.catalog.topic("t").partition_ids
        self.now = 1_000.0
        self.views: dict[str, AssignmentView] = {}
        self.stale: list[tuple[str, int, int]] = []
        self.owners: dict[tuple[int, int], str] = {}
        self.done: dict[int, int | None] = dict.fromkeys(self.ids)
        self.started: dict[int, int] = {}
        self.written: dict[int, list[bytes]] = {partition_id: [] for partition_id in self.ids}

    def member(self, name: str) -> Member:
        return Member("g", name, ("t",), "", lease_seconds=10.0, drain_seconds=5.0, clock=lambda: self.now)

    def see(self, name: str, view: AssignmentView | None) -> None:
        for partition_id, epoch in self.views.pop(name).held.items() if name in self.views else ():
            if view is None or view.held.get(partition_id) != epoch:
                self.stale.append((name, partition_id, epoch))
        if view is None:
            return
        self.views[name] = view
        for partition_id, epoch in view.held.items():
            assert self.owners.setdefault((partition_id, epoch), name) == name, "two members hold one epoch"

    @rule(name=MEMBERS)
    def join_or_renew(self, name: str) -> None:
        member = self.member(name)
        view = member.renew(self.connection) if name in self.views else member.join(self.connection)
        self.see(name, view)

    @rule(name=MEMBERS)
    def hand_over(self, name: str) -> None:
        if view := self.views.get(name):
            epochs = {partition_id: view.held[partition_id] for partition_id in view.leaving}
            self.see(name, self.member(name).release(self.connection, epochs))

    @rule(name=MEMBERS)
    def leave(self, name: str) -> None:
        if name in self.views:
            self.member(name).leave(self.connection)
            self.see(name, None)

    @rule(seconds=st.floats(0.5, 12.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        keys=st.lists(st.sampled_from([b"k0", b"k1", b"k2", b"k3"]), min_size=1, max_size=20),
        ahead=st.sampled_from([0.0, 0.0, 1e6, -1e6]),
    )
    def publish(self, keys: list[bytes], ahead: float) -> None:
        """`ahead`: by so much the clock is wrong."""
        batch = Batch(self.catalog, [NewRecord("t", key, b"%100d" % number, {}) for number, key in enumerate(keys)])
        batch.append(self.connection, self.now + ahead)
        for partition_id, rows in batch.by_partition.items():
            self.written[partition_id] += [value or b"" for value in rows.fields[1::FIELDS]]

    @rule(name=MEMBERS, step=st.integers(1, 15), attempts=st.integers(0, 3))
    def commit(self, name: str, step: int, attempts: int) -> None:
        """By the member's last view, which may be out of date: only the current owner's commit counts."""
        held = self.views[name].held if name in self.views else {}
        current = dict(self.connection.execute("SELECT partition_id, epoch FROM claims WHERE owner = ?", (name,)))
        wanted = {
            partition_id: min((self.done[partition_id] or 0) + step, len(self.written[partition_id]))
            for partition_id in held
        }
        late = sum(current.get(partition_id) != epoch for partition_id, epoch in held.items())
        positions_ = {partition_id: Position(offset, attempts) for partition_id, offset in wanted.items()}
        try:
            assert self.member(name).commit(self.connection, positions_, held) == late
        except Fenced:
            assert held
            assert late == len(held)
        self.done |= {
            partition_id: wanted[partition_id]
            for partition_id, epoch in held.items()
            if current.get(partition_id) == epoch
        }

    @rule(which=st.integers(0, 1_000))
    def commit_from_the_past(self, which: int) -> None:
        if not self.stale:
            return
        name, partition_id, epoch = self.stale[which % len(self.stale)]
        owner = self.connection.execute(
            "SELECT 1 FROM claims WHERE owner = ? AND epoch = ? AND partition_id = ?", (name, epoch, partition_id)
        ).fetchone()
        if owner is None:
            with suppress(Fenced):
                self.member(name).commit(self.connection, {partition_id: Position(0)}, {partition_id: epoch})
                raise AssertionError("a commit of an ended assignment was accepted")

    @rule()
    def drop_old(self) -> None:
        for partition_id in self.ids:
            retention.expire(self.connection, self.spec, partition_id, self.now)

    @rule(wanted_bytes=st.integers(1, 3_000))
    def make_room(self, wanted_bytes: int) -> None:
        """Enough is dropped, or nothing that is finished is left."""
        before, finished = self.bytes_held(), self.finished_bytes()
        make_room(self.connection, wanted_bytes)
        assert before - self.bytes_held() >= min(wanted_bytes, finished)

    def bytes_held(self) -> int:
        return int(self.connection.execute("SELECT sum(bytes) FROM partitions").fetchone()[0])

    def finished_bytes(self) -> int:
        return sum(
            len(record[2]) + len(record[3] or b"") + 1
            for partition_id in self.ids
            for record in read_rows(self.connection, partition_id, 0, 10_000)[0]
            if record[0] < retention.floor(self.connection, partition_id)
        )

    @rule()
    def forget_the_group(self) -> None:
        forget(self.connection, "g")
        for name in list(self.views):
            self.see(name, None)
        self.done = dict.fromkeys(self.ids)
        self.started.clear()

    @invariant()
    def positions_are_the_last_accepted_ones(self) -> None:
        committed = positions(self.connection, "g", self.ids)
        assert {
            partition_id: position and position.next_offset for partition_id, position in committed.items()
        } == self.done

    @invariant()
    def nothing_unfinished_is_dropped_and_the_rest_is_whole(self) -> None:
        for partition_id, (first, following) in offsets(self.connection, self.ids).items():
            rows, _ = read_rows(self.connection, partition_id, 0, 10_000)
            records = to_records(rows, Partition("t", self.ids.index(partition_id)), -1)
            assert following == len(self.written[partition_id])
            assert [record.offset for record in records] == list(range(first, following))
            assert [record.value for record in records] == self.written[partition_id][first:]
            assert first <= max(self.done[partition_id] or 0, self.started.setdefault(partition_id, first))
            (counted,) = self.connection.execute(
                "SELECT bytes FROM partitions WHERE id = ?", (partition_id,)
            ).fetchone()
            assert counted == sum(len(record.key) + len(record.value or b"") + 1 for record in records)

    def teardown(self) -> None:
        self.connection.close()


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLogMachine = LogMachine.TestCase
