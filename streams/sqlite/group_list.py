"""The log's consumer groups as an operator lists them: members, positions, and what each of them holds back."""

from __future__ import annotations

import sqlite3

from streams.sqlite.process_identity import boot_id, is_dead
from streams.sqlite.schema import records_table
from streams.transport import Group, GroupPosition, Partition


def list_groups(connection: sqlite3.Connection, prefix: str, now: float) -> dict[str, Group]:
    """By name; `now` is the boot time that decides whether a member's lease has run out.

    A group that was forgotten has neither members nor claims, and is left out.
    """
    names = connection.execute("SELECT id, name, seen FROM groups WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
    groups = {name: _group(connection, group_id, seen, now) for group_id, name, seen in names.fetchall()}
    return {name: group for name, group in groups.items() if group.members or group.positions}


def _group(connection: sqlite3.Connection, group_id: int, seen: float | None, now: float) -> Group:
    members = connection.execute("SELECT id, process, boot, expires FROM members WHERE group_id = ?", (group_id,))
    alive = {
        name
        for name, process, boot, expires in members.fetchall()
        if boot == boot_id() and expires >= now and not is_dead(process)
    }
    rows = connection.execute(
        "SELECT name, number, partitions.id, first_offset, partitions.next_offset, bytes, claims.next_offset, owner"
        " FROM claims JOIN partitions ON partitions.id = partition_id JOIN topics ON topics.id = topic_id"
        " WHERE group_id = ?",
        (group_id,),
    )
    positions = {
        Partition(topic, number): _position(
            connection, partition_id, first, following, size, committed, has_member=owner in alive
        )
        for topic, number, partition_id, first, following, size, committed, owner in rows.fetchall()
    }
    return Group(len(alive), positions, seen)


def _position(
    connection: sqlite3.Connection,
    partition_id: int,
    first: int,
    following: int,
    size: int,
    committed: int | None,
    *,
    has_member: bool,
) -> GroupPosition:
    """The bytes are the group's share of the partition's."""
    start = first if committed is None else max(first, committed)
    row = connection.execute(
        f"SELECT timestamp FROM {records_table(partition_id)} WHERE record_offset >= ?"  # noqa: S608
        " ORDER BY record_offset LIMIT 1",
        (start,),
    ).fetchone()
    lag = 0 if row is None else following - start
    held = round(size * lag / (following - first)) if lag else 0
    return GroupPosition(start, lag, has_member, row[0] if row else None, held)
