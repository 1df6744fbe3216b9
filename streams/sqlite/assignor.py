"""Assigns partitions to a group's members: evenly to within one, moving as few as possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

P = TypeVar("P")


def assign(owners: Mapping[P, str | None], subscribers: Mapping[P, Sequence[str]]) -> dict[P, str]:
    """The member that each partition belongs to; partitions without a subscriber are left out.

    `owners` holds the present owner of every partition, `subscribers` the living members that want it. Partitions
    with the same subscribers are assigned together: no member gets two more than another, and a member with no more
    than its quota keeps all it has.
    """
    classes: dict[tuple[str, ...], list[P]] = {}
    for partition in owners:
        if members := tuple(sorted(subscribers.get(partition, ()))):
            classes.setdefault(members, []).append(partition)
    assigned: dict[P, str] = {}
    for members, partitions in classes.items():
        assigned |= _assign_evenly({p: owners[p] for p in partitions}, members)
    return assigned


def _assign_evenly(owners: Mapping[P, str | None], members: Collection[str]) -> dict[P, str]:
    held: dict[str, list[P]] = {member: [] for member in members}
    free: list[P] = []
    for partition, owner in owners.items():
        held.get(owner or "", free).append(partition)
    least, extra = divmod(len(owners), len(held))
    by_held = sorted(held, key=lambda member: (-len(held[member]), member))
    quota = {member: least + (rank < extra) for rank, member in enumerate(by_held)}
    for member, partitions in held.items():
        free += partitions[quota[member] :]
        del partitions[quota[member] :]
    for member in by_held:
        while len(held[member]) < quota[member]:
            held[member].append(free.pop(0))
    return {partition: member for member, partitions in held.items() for partition in partitions}
