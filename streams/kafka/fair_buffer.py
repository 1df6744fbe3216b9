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
    """Shares every poll among the partitions: aiokafka empties one partition before the next, which starves others."""

    def __init__(self) -> None:
        self._runs: dict[P, deque[Run[R]]] = {}

    def hold(self, partitions: Iterable[P]) -> None:
        """Hold these partitions from now on, all empty; records of earlier assignments are dropped."""
        self._runs = {partition: deque() for partition in partitions}

    def add(self, partition: P, runs: Iterable[Run[R]]) -> None:
        """Records of a partition that is not held are dropped."""
        if (held := self._runs.get(partition)) is not None:
            held.extend(run for run in runs if len(run))

    def drop(self, partition: P) -> None:
        self._runs.pop(partition, None)

    def empty(self) -> list[P]:
        """Held partitions without a record."""
        return [partition for partition, runs in self._runs.items() if not runs]

    def __bool__(self) -> bool:
        return any(self._runs.values())

    def take(self, count: int) -> list[tuple[P, list[R]]]:
        """At most `count` records: equal shares of all partitions, the rest from those that have more.

        The next call starts with the next partition.
        """
        taken: list[tuple[P, list[R]]] = []
        ready = [partition for partition, runs in self._runs.items() if runs]
        if ready:
            self._runs[ready[0]] = self._runs.pop(ready[0])
        while ready and count > 0:
            share = max(1, count // len(ready))
            for partition in ready[:count]:
                taken.append((partition, _take(self._runs[partition], share)))
                count -= len(taken[-1][1])
            ready = [partition for partition in ready if self._runs[partition]]
        return taken


def _take(runs: deque[Run[R]], count: int) -> list[R]:
    """The next `count` records of these runs, or all there are."""
    records: list[R] = []
    while runs and len(records) < count:
        records += runs[0].take(count - len(records))
        if not len(runs[0]):
            runs.popleft()
    return records
