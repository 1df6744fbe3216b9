"""Who of a group reads which partition: even to within one, and moving as little as possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

P = TypeVar("P")


def share(owners: Mapping[P, str | None], subscribers: Mapping[P, Sequence[str]]) -> dict[P, str]:
    """The member that each partition belongs to; partitions nobody subscribes to are left out.

    `owners` holds the present owner of every partition, `subscribers` the living members that want it. Partitions
    with the same subscribers are shared out together: nobody has two more than another, and whoever has no more than
    its part keeps all of it.
    """
    classes: dict[tuple[str, ...], list[P]] = {}
    for partition in owners:
        if members := tuple(sorted(subscribers.get(partition, ()))):
            classes.setdefault(members, []).append(partition)
    shared: dict[P, str] = {}
    for members, partitions in classes.items():
        shared |= _share_evenly({p: owners[p] for p in partitions}, members)
    return shared


def _share_evenly(owners: Mapping[P, str | None], members: Collection[str]) -> dict[P, str]:
    held: dict[str, list[P]] = {member: [] for member in members}
    free: list[P] = []
    for partition, owner in owners.items():
        held.get(owner or "", free).append(partition)
    part, rest = divmod(len(owners), len(held))
    by_held = sorted(held, key=lambda member: (-len(held[member]), member))
    quota = {member: part + (place < rest) for place, member in enumerate(by_held)}
    for member, partitions in held.items():
        free += partitions[quota[member] :]
        del partitions[quota[member] :]
    for member in by_held:
        while len(held[member]) < quota[member]:
            held[member].append(free.pop(0))
    return {partition: member for member, partitions in held.items() for partition in partitions}
