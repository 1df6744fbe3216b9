"""The real transport and index, with every acknowledgement recorded, and points at which the process may be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from stores.index import Filter, Index, Point
from streams.transport import Consumer, Listener, NewRecord, Partition, Position, Record, Transport
from tests.nemesis.history import History

POINTS = (
    "after the poll",
    "inside a stage",
    "before the points",
    "between points and events",
    "between events and commit",
    "during the drain",
)


@dataclass
class KillPoint:
    """SIGKILL to this process when it passes `point` after `spared` earlier passes; never where `point` is empty."""

    point: str = ""
    spared: int = 0
    draining: bool = False
    """Stopping: from now on `during the drain` is any of the later points."""

    def passed(self, point: str) -> None:
        if self.point == point or (self.point == "during the drain" and self.draining):
            if self.spared <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.spared -= 1


class _Wrapped:
    """Delegates everything that it does not define."""

    def __init__(self, inner: Any, history: History, kill_point: KillPoint) -> None:
        self._inner, self._history, self._kill_point = inner, history, kill_point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Consumer(_Wrapped):
    async def poll(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        records: Sequence[Record] = await self._inner.poll(max_records, timeout_seconds)
        if records:
            self._kill_point.passed("after the poll")
        return records

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        if any(position.attempts == 0 for position in positions.values()):  # others only count starts
            self._kill_point.passed("between events and commit")
        current = self._current(positions, epochs)
        await self._inner.commit(positions, epochs)
        self._history.committed(self._current(current, epochs), epochs)

    def _current(
        self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]
    ) -> Mapping[Partition, Position]:
        """Those of the current assignment: a commit leaves out the others."""
        held = self._inner.assignment()
        return {
            partition: position
            for partition, position in positions.items()
            if held.get(partition) == epochs.get(partition)
        }

    async def publish_and_commit(
        self,
        outgoing: Sequence[NewRecord],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        """Events and commit are one transaction, so the kill between them comes before both."""
        self._kill_point.passed("between events and commit")
        await self._inner.publish_and_commit(outgoing, positions, epochs)
        self._history.published(outgoing)
        self._history.committed(positions, epochs)


class _Transport(_Wrapped):
    async def publish(self, records: Sequence[NewRecord]) -> None:
        await self._inner.publish(records)
        self._history.published(records)

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        consumer = await self._inner.consumer(group, topics, listener)
        return cast("Consumer", _Consumer(consumer, self._history, self._kill_point))


class _Index(_Wrapped):
    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        self._kill_point.passed("before the points")
        await self._inner.upsert(collection, points)
        self._history.upserted(collection, [str(point.payload["frame"]) for point in points])
        self._kill_point.passed("between points and events")

    async def delete(self, collection: str, where: Filter) -> None:
        await self._inner.delete(collection, where)
        frames = [str(value) for match in where.must if match.field == "frame" for value in match.any_of]
        self._history.deleted(collection, frames)


def recorded_transport(transport: Transport, history: History, kill_point: KillPoint) -> Transport:
    return cast("Transport", _Transport(transport, history, kill_point))


def recorded_index(index: Index, history: History, kill_point: KillPoint) -> Index:
    return cast("Index", _Index(index, history, kill_point))
