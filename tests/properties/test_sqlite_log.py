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
from streams.sqlite.catalog import Catalog
from streams.sqlite.groups import AssignmentView, Member, forget, positions
from streams.sqlite.rows import FIELDS, Batch, offsets, read_rows, to_records
from streams.sqlite.schema import create_tables
from streams.sqlite.sharing import share
from streams.transport import NewRecord, Partition, Position, TopicSpec

MEMBERS = st.sampled_from("abcd")


@given(
    st.dictionaries(st.integers(0, 40), st.one_of(st.none(), MEMBERS)),
    st.sets(MEMBERS, min_size=1),
)
def test_sharing_is_even_complete_and_moves_no_more_than_it_must(
    owners: dict[int, str | None], members: set[str]
) -> None:
    shared = share(owners, dict.fromkeys(owners, sorted(members)))
    counts = Counter(dict.fromkeys(members, 0)) + Counter(shared.values())
    sizes = [counts[member] for member in members]
    assert shared.keys() == owners.keys()
    assert max(sizes) - min(sizes) <= 1
    assert share(shared, dict.fromkeys(owners, sorted(members))) == shared
    kept = sum(shared[at] == owner for at, owner in owners.items())
    held = sorted((sum(owner == member for owner in owners.values()) for member in members), reverse=True)
    part, rest = divmod(len(owners), len(members))
    assert kept == sum(min(count, part + (place < rest)) for place, count in enumerate(held))


class LogMachine(RuleBasedStateMachine):
    """One topic of three partitions, one group, four members that join, go silent, hand over, and commit late."""

    spec = TopicSpec("t", 3, retention_seconds=20.0, retention_bytes=600)

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        create_tables(self.connection)
        self.catalog = Catalog()
        self.catalog.create(self.connection, [self.spec])
        self.catalog.load(self.connection)
        self.ids = self.catalog.topic("t").partition_ids
        self.now = 1_000.0
        self.standings: dict[str, AssignmentView] = {}
        self.stale: list[tuple[str, int, int]] = []
        self.owners: dict[tuple[int, int], str] = {}
        self.done: dict[int, int | None] = dict.fromkeys(self.ids)
        self.started: dict[int, int] = {}
        self.written: dict[int, list[bytes]] = {at: [] for at in self.ids}

    def member(self, name: str) -> Member:
        return Member("g", name, ("t",), "", lease_seconds=10.0, drain_seconds=5.0, clock=lambda: self.now)

    def see(self, name: str, standing: AssignmentView | None) -> None:
        for at, epoch in self.standings.pop(name).held.items() if name in self.standings else ():
            if standing is None or standing.held.get(at) != epoch:
                self.stale.append((name, at, epoch))
        if standing is None:
            return
        self.standings[name] = standing
        for at, epoch in standing.held.items():
            assert self.owners.setdefault((at, epoch), name) == name, "two members hold one epoch"

    @rule(name=MEMBERS)
    def join_or_renew(self, name: str) -> None:
        member = self.member(name)
        standing = member.renew(self.connection) if name in self.standings else member.join(self.connection)
        self.see(name, standing)

    @rule(name=MEMBERS)
    def hand_over(self, name: str) -> None:
        if standing := self.standings.get(name):
            epochs = {at: standing.held[at] for at in standing.leaving}
            self.see(name, self.member(name).release(self.connection, epochs))

    @rule(name=MEMBERS)
    def leave(self, name: str) -> None:
        if name in self.standings:
            self.member(name).leave(self.connection)
            self.see(name, None)

    @rule(seconds=st.floats(0.5, 12.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(keys=st.lists(st.sampled_from([b"k0", b"k1", b"k2", b"k3"]), min_size=1, max_size=20))
    def publish(self, keys: list[bytes]) -> None:
        batch = Batch(self.catalog, [NewRecord("t", key, b"%100d" % at, {}) for at, key in enumerate(keys)])
        batch.append(self.connection, self.now)
        for at, part in batch.shares.items():
            self.written[at] += [value or b"" for value in part.fields[1::FIELDS]]

    @rule(name=MEMBERS, step=st.integers(1, 15), attempts=st.integers(0, 3))
    def commit(self, name: str, step: int, attempts: int) -> None:
        """By what the member last heard, which may be out of date: only the current owner's counts."""
        held = self.standings[name].held if name in self.standings else {}
        current = dict(self.connection.execute("SELECT partition_id, epoch FROM claims WHERE owner = ?", (name,)))
        wanted = {at: min((self.done[at] or 0) + step, len(self.written[at])) for at in held}
        late = sum(current.get(at) != epoch for at, epoch in held.items())
        positions_ = {at: Position(offset, attempts) for at, offset in wanted.items()}
        try:
            assert self.member(name).commit(self.connection, positions_, held) == late
        except Fenced:
            assert held
            assert late == len(held)
        self.done |= {at: wanted[at] for at, epoch in held.items() if current.get(at) == epoch}

    @rule(which=st.integers(0, 1_000))
    def commit_from_the_past(self, which: int) -> None:
        if not self.stale:
            return
        name, at, epoch = self.stale[which % len(self.stale)]
        owner = self.connection.execute(
            "SELECT 1 FROM claims WHERE owner = ? AND epoch = ? AND partition_id = ?", (name, epoch, at)
        ).fetchone()
        if owner is None:
            with suppress(Fenced):
                self.member(name).commit(self.connection, {at: Position(0)}, {at: epoch})
                raise AssertionError("a commit of an ended assignment was accepted")

    @rule()
    def drop_old(self) -> None:
        for at in self.ids:
            retention.drop(self.connection, self.spec, at, lambda: self.now)

    @rule()
    def forget_the_group(self) -> None:
        forget(self.connection, "g")
        for name in list(self.standings):
            self.see(name, None)
        self.done = dict.fromkeys(self.ids)

    @invariant()
    def positions_are_the_last_accepted_ones(self) -> None:
        found = positions(self.connection, "g", self.ids)
        assert {at: position and position.next_offset for at, position in found.items()} == self.done

    @invariant()
    def nothing_unfinished_is_dropped_and_the_rest_is_whole(self) -> None:
        registered = {row[0] for row in self.connection.execute("SELECT partition_id FROM claims")}
        for at, (first, following) in offsets(self.connection, self.ids).items():
            rows, _ = read_rows(self.connection, at, 0, 10_000)
            records = to_records(rows, Partition("t", self.ids.index(at)), -1)
            assert following == len(self.written[at])
            assert [record.offset for record in records] == list(range(first, following))
            assert [record.value for record in records] == self.written[at][first:]
            if at in registered:
                assert first <= max(self.done[at] or 0, self.started.setdefault(at, first))
            else:
                self.started.pop(at, None)
            (counted,) = self.connection.execute("SELECT bytes FROM partitions WHERE id = ?", (at,)).fetchone()
            assert counted == sum(len(record.key) + len(record.value or b"") + 1 for record in records)

    def teardown(self) -> None:
        self.connection.close()


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLogMachine = LogMachine.TestCase
