"""Consumer groups: members with leases, each partition's owner, and the group's positions. All inside transactions.

A member renews its lease; each renewal also expires dead members and rebalances. An owner that has to hand a partition
over is asked to (`release_by`), and keeps it until it has drained, committed and released it, or until that time has
passed. Every change of owner raises the partition's epoch; every commit checks it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.errors import Fenced
from streams.sqlite.assignor import assign
from streams.sqlite.process_identity import boot_id, is_dead
from streams.sqlite.record_rows import has_record, offsets
from streams.transport import Position

NEW_OWNER = "owner = ?, epoch = epoch + 1, release_by = NULL"


@dataclass(frozen=True, slots=True)
class AssignmentView:
    """What a member holds: partition row ids with their epochs; those in `leaving` it is asked to hand over.

    `leaving` gives the boot time until which it may drain. `version` grows with every change within the group.
    """

    version: int
    held: Mapping[int, int]
    leaving: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group: what its process knows of it, and its reads and writes."""

    group: str
    name: str
    topics: tuple[str, ...]
    process: str
    lease_seconds: float
    drain_seconds: float
    clock: Callable[[], float]
    """Seconds since boot."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch, for people alone."""

    def join(self, connection: sqlite3.Connection) -> AssignmentView:
        """Become a member and register the group with its topics: what it has not finished is kept from now on.

        Epochs start at the group's version, which is never below any of them: a group that was forgotten and joins
        again does not repeat an epoch.
        """
        connection.execute("INSERT INTO groups (name) VALUES (?) ON CONFLICT DO NOTHING", (self.group,))
        group_id = self._group_id(connection)
        connection.executemany(
            "INSERT INTO claims (group_id, partition_id, epoch) SELECT groups.id, partitions.id, version"
            " FROM groups, partitions JOIN topics ON topics.id = topic_id"
            " WHERE groups.id = ? AND topics.name = ? ON CONFLICT DO NOTHING",
            [(group_id, topic) for topic in self.topics],
        )
        connection.execute(
            "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?)",
            (self.name, group_id, json.dumps(self.topics), self.process, boot_id(), self._lease()),
        )
        return self._rebalanced(connection, group_id)

    def renew(self, connection: sqlite3.Connection) -> AssignmentView | None:
        """Renew the lease and read changes; None if the group has already expired this member."""
        renewed = connection.execute(
            "UPDATE members SET expires = ?, boot = ? WHERE id = ?", (self._lease(), boot_id(), self.name)
        )
        if not renewed.rowcount:
            return None
        return self._rebalanced(connection, self._group_id(connection))

    def release(self, connection: sqlite3.Connection, epochs: Mapping[int, int]) -> AssignmentView | None:
        """Hand partitions over, those of them that are still held under these epochs."""
        connection.executemany(
            "UPDATE claims SET owner = NULL, release_by = NULL"
            " WHERE group_id = ? AND partition_id = ? AND owner = ? AND epoch = ?",
            [(self._group_id(connection), partition_id, self.name, epoch) for partition_id, epoch in epochs.items()],
        )
        return self.renew(connection)

    def leave(self, connection: sqlite3.Connection) -> None:
        group_id = self._group_id(connection)
        connection.execute("DELETE FROM members WHERE id = ?", (self.name,))
        _disown(connection, group_id, [self.name])
        self._rebalance(connection, group_id)

    def version(self, connection: sqlite3.Connection) -> int:
        """It grows with every change within the group; cheap to read."""
        row = connection.execute("SELECT version FROM groups WHERE name = ?", (self.group,)).fetchone()
        return int(row[0])

    def positions(self, connection: sqlite3.Connection, partition_ids: Iterable[int]) -> dict[int, Position | None]:
        return positions(connection, self.group, partition_ids)

    def check(self, connection: sqlite3.Connection, epochs: Mapping[int, int]) -> None:
        """Raises Fenced if any of these partitions is no longer held under its epoch."""
        group_id = self._group_id(connection)
        claim = "SELECT 1 FROM claims WHERE group_id = ? AND partition_id = ? AND owner = ? AND epoch = ?"
        for partition_id, epoch in epochs.items():
            if not connection.execute(claim, (group_id, partition_id, self.name, epoch)).fetchone():
                raise Fenced(f"group {self.group}: an assignment has ended, nothing was written")

    def commit(
        self, connection: sqlite3.Connection, positions: Mapping[int, Position], epochs: Mapping[int, int]
    ) -> int:
        """Store positions; returns how many were late and left out: their epoch is not the current one.

        Raises Fenced when all were.
        """
        if not positions:
            return 0
        group_id = self._group_id(connection)
        stored = connection.executemany(
            "UPDATE claims SET next_offset = ?, attempts = ?"
            " WHERE group_id = ? AND partition_id = ? AND owner = ? AND epoch = ?",
            [
                (
                    position.next_offset,
                    position.attempts,
                    group_id,
                    partition_id,
                    self.name,
                    epochs.get(partition_id, -1),
                )
                for partition_id, position in positions.items()
            ],
        ).rowcount
        if not stored:
            raise Fenced(f"group {self.group}: {len(positions)} positions come from assignments that have ended")
        return len(positions) - stored

    def _lease(self) -> float:
        return self.clock() + self.lease_seconds

    def _group_id(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT id FROM groups WHERE name = ?", (self.group,)).fetchone()[0])

    def _rebalanced(self, connection: sqlite3.Connection, group_id: int) -> AssignmentView:
        connection.execute("UPDATE groups SET seen = ? WHERE id = ?", (self.wall(), group_id))
        self._rebalance(connection, group_id)
        version = self.version(connection)
        rows = connection.execute(
            "SELECT partition_id, epoch, release_by FROM claims WHERE group_id = ? AND owner = ?",
            (group_id, self.name),
        ).fetchall()
        held = {partition_id: epoch for partition_id, epoch, _ in rows}
        leaving = {partition_id: until for partition_id, _, until in rows if until is not None}
        return AssignmentView(version, held, leaving)

    def _rebalance(self, connection: sqlite3.Connection, group_id: int) -> None:
        """Expire dead members, take back what was not released in time, and move what is out of balance."""
        now = self.clock()
        changed = _expire_members(connection, group_id, now)
        owners = _owners(connection, group_id)
        late = {
            partition_id
            for partition_id, (_, release_by) in owners.items()
            if release_by is not None and release_by < now
        }
        present = {partition_id: None if partition_id in late else owner for partition_id, (owner, _) in owners.items()}
        targets = assign(present, _subscribers(connection, group_id))
        for partition_id, (owner, release_by) in owners.items():
            target = targets.get(partition_id)
            if present[partition_id] is None:
                if target is not None or owner is not None:
                    changed += _set(connection, group_id, partition_id, NEW_OWNER, target)
            elif target != owner and release_by is None:
                changed += _set(connection, group_id, partition_id, "release_by = ?", now + self.drain_seconds)
            elif target == owner and release_by is not None:
                changed += _set(connection, group_id, partition_id, "release_by = ?", None)
        if changed:
            connection.execute("UPDATE groups SET version = version + 1 WHERE id = ?", (group_id,))


def positions(connection: sqlite3.Connection, group: str, partition_ids: Iterable[int]) -> dict[int, Position | None]:
    """The group's position in each partition; None where it never committed, or where there is no such group."""
    committed: dict[int, Position | None] = {}
    for partition_id in partition_ids:
        row = connection.execute(
            "SELECT next_offset, attempts FROM claims JOIN groups ON groups.id = group_id"
            " WHERE name = ? AND partition_id = ? AND next_offset IS NOT NULL",
            (group, partition_id),
        ).fetchone()
        committed[partition_id] = Position(*row) if row else None
    return committed


def lag(connection: sqlite3.Connection, group: str, partition_ids: Sequence[int]) -> dict[int, int]:
    """Offsets between the group's position, or the earliest record, and each partition's end.

    0 where all records there were erased: a group that came later would wait for them without end.
    """
    committed = positions(connection, group, partition_ids)
    lags = {}
    for partition_id, (first, following) in offsets(connection, partition_ids).items():
        position = committed[partition_id]
        start = first if position is None else max(first, position.next_offset)
        lags[partition_id] = following - start if has_record(connection, partition_id, start) else 0
    return lags


def forget(connection: sqlite3.Connection, group: str) -> None:
    """Remove the group's members, claims and positions; its version stays, and grows."""
    of_group = "group_id IN (SELECT id FROM groups WHERE name = ?)"
    connection.execute(f"DELETE FROM members WHERE {of_group}", (group,))  # noqa: S608 - our own text
    connection.execute(f"DELETE FROM claims WHERE {of_group}", (group,))  # noqa: S608 - our own text
    connection.execute("UPDATE groups SET version = version + 1 WHERE name = ?", (group,))


def _expire_members(connection: sqlite3.Connection, group_id: int, now: float) -> int:
    members = connection.execute(
        "SELECT id, process, boot, expires FROM members WHERE group_id = ?", (group_id,)
    ).fetchall()
    dead = [name for name, process, boot, expires in members if boot != boot_id() or expires < now or is_dead(process)]
    connection.executemany("DELETE FROM members WHERE id = ?", [(name,) for name in dead])
    return _disown(connection, group_id, dead)


def _disown(connection: sqlite3.Connection, group_id: int, members: Sequence[str]) -> int:
    disowned = "UPDATE claims SET owner = NULL, release_by = NULL WHERE group_id = ? AND owner = ?"
    return sum(connection.execute(disowned, (group_id, member)).rowcount for member in members)


def _owners(connection: sqlite3.Connection, group_id: int) -> dict[int, tuple[str | None, float | None]]:
    rows = connection.execute(
        "SELECT partition_id, owner, release_by FROM claims WHERE group_id = ? ORDER BY partition_id", (group_id,)
    )
    return {partition_id: (owner, release_by) for partition_id, owner, release_by in rows}


def _subscribers(connection: sqlite3.Connection, group_id: int) -> dict[int, list[str]]:
    rows = connection.execute(
        "SELECT partitions.id, members.id FROM members, json_each(members.topics) AS wanted"
        " JOIN topics ON topics.name = wanted.value JOIN partitions ON partitions.topic_id = topics.id"
        " WHERE members.group_id = ?",
        (group_id,),
    )
    subscribers: dict[int, list[str]] = {}
    for partition_id, member in rows:
        subscribers.setdefault(partition_id, []).append(member)
    return subscribers


def _set(
    connection: sqlite3.Connection, group_id: int, partition_id: int, change: str, value: str | float | None
) -> int:
    return connection.execute(
        f"UPDATE claims SET {change} WHERE group_id = ? AND partition_id = ?",  # noqa: S608 - our own columns
        (value, group_id, partition_id),
    ).rowcount
