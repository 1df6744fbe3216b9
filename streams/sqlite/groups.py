"""Consumer groups: members with leases, who owns which partition, and how far the group is. All inside transactions.

A member renews its lease; whoever renews also buries the dead and shares the partitions out anew. An owner that is
to give a partition up is asked (`release_by`) and keeps it until it has let go, drained and committed, or until that
time has passed. Every change of owner raises the partition's epoch; every commit checks it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.errors import Fenced
from streams.sqlite.boot import boot_name, is_dead
from streams.sqlite.rows import offsets
from streams.sqlite.sharing import share
from streams.transport import Position


@dataclass(frozen=True, slots=True)
class AssignmentView:
    """What a member holds: partition row ids with their epochs; those in `leaving` it is asked to give up.

    `leaving` gives the boot time until which it may drain. `version` grows with every change within the group.
    """

    version: int
    held: Mapping[int, int]
    leaving: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Member:
    """One member as its own process sees it."""

    group: str
    name: str
    topics: tuple[str, ...]
    process: str
    lease_seconds: float
    drain_seconds: float
    clock: Callable[[], float]
    """Seconds since boot."""

    def join(self, connection: sqlite3.Connection) -> AssignmentView:
        """Become a member and register the group with its topics: what it has not finished is kept from now on.

        Epochs start at the group's version, which is never below any of them: a group that was forgotten and comes
        back does not repeat one.
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
            (self.name, group_id, json.dumps(self.topics), self.process, boot_name(), self._lease()),
        )
        return self._shared_out(connection, group_id)

    def renew(self, connection: sqlite3.Connection) -> AssignmentView | None:
        """Keep the lease and learn of changes; None if the others have already counted this member as dead."""
        renewed = connection.execute(
            "UPDATE members SET expires = ?, boot = ? WHERE id = ?", (self._lease(), boot_name(), self.name)
        )
        if not renewed.rowcount:
            return None
        return self._shared_out(connection, self._group_id(connection))

    def release(self, connection: sqlite3.Connection, epochs: Mapping[int, int]) -> AssignmentView | None:
        """Give partitions up, those of them that are still held under these epochs."""
        connection.executemany(
            "UPDATE claims SET owner = NULL, release_by = NULL"
            " WHERE group_id = ? AND partition_id = ? AND owner = ? AND epoch = ?",
            [(self._group_id(connection), at, self.name, epoch) for at, epoch in epochs.items()],
        )
        return self.renew(connection)

    def leave(self, connection: sqlite3.Connection) -> None:
        group_id = self._group_id(connection)
        connection.execute("DELETE FROM members WHERE id = ?", (self.name,))
        _disown(connection, group_id, [self.name])
        self._share_out(connection, group_id)

    def version(self, connection: sqlite3.Connection) -> int:
        """The cheap question whether anything has changed."""
        row = connection.execute("SELECT version FROM groups WHERE name = ?", (self.group,)).fetchone()
        return int(row[0])

    def positions(self, connection: sqlite3.Connection, partition_ids: Iterable[int]) -> dict[int, Position | None]:
        return positions(connection, self.group, partition_ids)

    def check(self, connection: sqlite3.Connection, epochs: Mapping[int, int]) -> None:
        """Raises Fenced if any of these partitions is no longer held under its epoch."""
        group_id = self._group_id(connection)
        found = "SELECT 1 FROM claims WHERE group_id = ? AND partition_id = ? AND owner = ? AND epoch = ?"
        for at, epoch in epochs.items():
            if not connection.execute(found, (group_id, at, self.name, epoch)).fetchone():
                raise Fenced(f"group {self.group}: an assignment has ended, nothing was written")

    def commit(
        self, connection: sqlite3.Connection, positions: Mapping[int, Position], epochs: Mapping[int, int]
    ) -> int:
        """Store positions and return how many were late (their epoch is not the current one) and left out.

        Raises Fenced when all were.
        """
        if not positions:
            return 0
        group_id = self._group_id(connection)
        stored = connection.executemany(
            "UPDATE claims SET next_offset = ?, attempts = ?"
            " WHERE group_id = ? AND partition_id = ? AND owner = ? AND epoch = ?",
            [
                (position.next_offset, position.attempts, group_id, at, self.name, epochs.get(at, -1))
                for at, position in positions.items()
            ],
        ).rowcount
        if not stored:
            raise Fenced(f"group {self.group}: {len(positions)} positions come from assignments that have ended")
        return len(positions) - stored

    def _lease(self) -> float:
        return self.clock() + self.lease_seconds

    def _group_id(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT id FROM groups WHERE name = ?", (self.group,)).fetchone()[0])

    def _shared_out(self, connection: sqlite3.Connection, group_id: int) -> AssignmentView:
        self._share_out(connection, group_id)
        version = self.version(connection)
        rows = connection.execute(
            "SELECT partition_id, epoch, release_by FROM claims WHERE group_id = ? AND owner = ?",
            (group_id, self.name),
        ).fetchall()
        held = {at: epoch for at, epoch, _ in rows}
        return AssignmentView(version, held, {at: until for at, _, until in rows if until is not None})

    def _share_out(self, connection: sqlite3.Connection, group_id: int) -> None:
        """Bury the dead, take back what was not released in time, and move what is out of balance."""
        now = self.clock()
        changed = _expire_members(connection, group_id, now)
        owners = _owners(connection, group_id)
        late = [at for at, (_, release_by) in owners.items() if release_by is not None and release_by < now]
        shares = share(
            {at: None if at in late else owner for at, (owner, _) in owners.items()}, _subscribers(connection, group_id)
        )
        for at, (owner, release_by) in owners.items():
            target = shares.get(at)
            free = owner is None or at in late
            if free and target is not None:
                changed += _set(connection, group_id, at, "owner = ?, epoch = epoch + 1, release_by = NULL", target)
            elif free and owner is not None:
                changed += _set(connection, group_id, at, "owner = ?, epoch = epoch + 1, release_by = NULL", None)
            elif not free and target != owner and release_by is None:
                changed += _set(connection, group_id, at, "release_by = ?", now + self.drain_seconds)
            elif not free and target == owner and release_by is not None:
                changed += _set(connection, group_id, at, "release_by = ?", None)
        if changed:
            connection.execute("UPDATE groups SET version = version + 1 WHERE id = ?", (group_id,))


def positions(connection: sqlite3.Connection, group: str, partition_ids: Iterable[int]) -> dict[int, Position | None]:
    """The group's position in each partition; None where it never committed, or where there is no such group."""
    found: dict[int, Position | None] = {}
    for at in partition_ids:
        row = connection.execute(
            "SELECT next_offset, attempts FROM claims JOIN groups ON groups.id = group_id"
            " WHERE name = ? AND partition_id = ? AND next_offset IS NOT NULL",
            (group, at),
        ).fetchone()
        found[at] = Position(*row) if row else None
    return found


def lag(connection: sqlite3.Connection, group: str, partition_ids: Sequence[int]) -> dict[int, int]:
    """Records between the group's position, or the earliest record, and each partition's end."""
    done, ends = positions(connection, group, partition_ids), offsets(connection, partition_ids)
    return {
        at: following - max(first, position.next_offset if position else first)
        for at, (first, following) in ends.items()
        for position in [done[at]]
    }


def forget(connection: sqlite3.Connection, group: str) -> None:
    of_group = "group_id IN (SELECT id FROM groups WHERE name = ?)"
    connection.execute(f"DELETE FROM members WHERE {of_group}", (group,))  # noqa: S608 - our own words
    connection.execute(f"DELETE FROM claims WHERE {of_group}", (group,))  # noqa: S608 - our own words
    connection.execute("UPDATE groups SET version = version + 1 WHERE name = ?", (group,))


def _expire_members(connection: sqlite3.Connection, group_id: int, now: float) -> int:
    members = connection.execute(
        "SELECT id, process, boot, expires FROM members WHERE group_id = ?", (group_id,)
    ).fetchall()
    dead = [
        name for name, process, boot, expires in members if boot != boot_name() or expires < now or is_dead(process)
    ]
    connection.executemany("DELETE FROM members WHERE id = ?", [(name,) for name in dead])
    return _disown(connection, group_id, dead)


def _disown(connection: sqlite3.Connection, group_id: int, members: Sequence[str]) -> int:
    disowned = "UPDATE claims SET owner = NULL, release_by = NULL WHERE group_id = ? AND owner = ?"
    return sum(connection.execute(disowned, (group_id, member)).rowcount for member in members)


def _owners(connection: sqlite3.Connection, group_id: int) -> dict[int, tuple[str | None, float | None]]:
    rows = connection.execute(
        "SELECT partition_id, owner, release_by FROM claims WHERE group_id = ? ORDER BY partition_id", (group_id,)
    )
    return {at: (owner, release_by) for at, owner, release_by in rows}


def _subscribers(connection: sqlite3.Connection, group_id: int) -> dict[int, list[str]]:
    rows = connection.execute(
        "SELECT partitions.id, members.id FROM members, json_each(members.topics) AS wanted"
        " JOIN topics ON topics.name = wanted.value JOIN partitions ON partitions.topic_id = topics.id"
        " WHERE members.group_id = ?",
        (group_id,),
    )
    subscribers: dict[int, list[str]] = {}
    for at, member in rows:
        subscribers.setdefault(at, []).append(member)
    return subscribers


def _set(connection: sqlite3.Connection, group_id: int, at: int, change: str, value: str | float | None) -> int:
    return connection.execute(
        f"UPDATE claims SET {change} WHERE group_id = ? AND partition_id = ?",  # noqa: S608 - our own columns
        (value, group_id, at),
    ).rowcount
