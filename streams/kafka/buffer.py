"""Records that were fetched and not yet handed out: partitions take turns, and none grows while others are empty."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

P = TypeVar("P")
R = TypeVar("R")


class Run(Protocol[R]):
    """Records of one partition, in order, each of which is taken once."""

    def __len__(self) -> int: ...

    def take(self, count: int) -> list[R]:
        """The next `count`, or as many as are left."""


class FairBuffer(Generic[P, R]):
    """aiokafka empties one partition before the next; whoever is behind would starve the others."""

    def __init__(self) -> None:
        self._lots: dict[P, deque[Run[R]]] = {}

    def hold(self, partitions: Iterable[P]) -> None:
        """Start anew with these partitions; what was left of earlier assignments is dropped."""
        self._lots = {partition: deque() for partition in partitions}

    def add(self, partition: P, runs: Iterable[Run[R]]) -> None:
        """Records of a partition that is not held are dropped."""
        if (lot := self._lots.get(partition)) is not None:
            lot.extend(run for run in runs if len(run))

    def drop(self, partition: P) -> None:
        self._lots.pop(partition, None)

    def hungry(self) -> list[P]:
        """Held partitions of which nothing is left."""
        return [partition for partition, lot in self._lots.items() if not lot]

    def __bool__(self) -> bool:
        return any(self._lots.values())

    def take(self, count: int) -> list[tuple[P, list[R]]]:
        """At most `count` records, in runs of a partition's: equal shares, the rest to whoever has more.

        The next call starts one further on.
        """
        runs: list[tuple[P, list[R]]] = []
        ready = [partition for partition, lot in self._lots.items() if lot]
        if ready:
            self._lots[ready[0]] = self._lots.pop(ready[0])
        while ready and count > 0:
            part = max(1, count // len(ready))
            for partition in ready[:count]:
                runs.append((partition, _first(self._lots[partition], part)))
                count -= len(runs[-1][1])
            ready = [partition for partition in ready if self._lots[partition]]
        return runs


def _first(lot: deque[Run[R]], count: int) -> list[R]:
    """Take so many off, or all there is."""
    records: list[R] = []
    while lot and len(records) < count:
        records += lot[0].take(count - len(records))
        if not len(lot[0]):
            lot.popleft()
    return records
