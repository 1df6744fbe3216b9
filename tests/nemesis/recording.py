"""The real transport and index, with every acknowledgement written down, and points at which the process may die."""

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
class Death:
    """SIGKILL to this process when it passes `point` for the time after `spared`; never where that is empty."""

    point: str = ""
    spared: int = 0
    draining: bool = False
    """Told to stop: from now on any of the later points will do for `during the drain`."""

    def at(self, point: str) -> None:
        if self.point == point or (self.point == "during the drain" and self.draining):
            if self.spared <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.spared -= 1


class _Wrapped:
    """Passes everything on that it does not name."""

    def __init__(self, inner: Any, history: History, death: Death) -> None:
        self._inner, self._history, self._death = inner, history, death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Consumer(_Wrapped):
    async def poll(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        records: Sequence[Record] = await self._inner.poll(max_records, timeout_seconds)
        if records:
            self._death.at("after the poll")
        return records

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        if any(position.attempts == 0 for position in positions.values()):  # not the mere count of a start
            self._death.at("between events and commit")
        ours = self._ours(positions, epochs)
        await self._inner.commit(positions, epochs)
        self._history.committed(self._ours(ours, epochs), epochs)

    def _ours(
        self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]
    ) -> Mapping[Partition, Position]:
        """Those of the present assignment: the others are left out of a commit."""
        held = self._inner.assignment()
        return {at: position for at, position in positions.items() if held.get(at) == epochs.get(at)}

    async def publish_and_commit(
        self,
        outgoing: Sequence[NewRecord],
        positions: Mapping[Partition, Position],
        epochs: Mapping[Partition, int],
    ) -> None:
        """One transaction: where it is, there is no moment between events and commit, but one before both."""
        self._death.at("between events and commit")
        await self._inner.publish_and_commit(outgoing, positions, epochs)
        self._history.published(outgoing)
        self._history.committed(positions, epochs)


class _Transport(_Wrapped):
    async def publish(self, records: Sequence[NewRecord]) -> None:
        await self._inner.publish(records)
        self._history.published(records)

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        consumer = await self._inner.consumer(group, topics, listener)
        return cast("Consumer", _Consumer(consumer, self._history, self._death))


class _Index(_Wrapped):
    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        self._death.at("before the points")
        await self._inner.upsert(collection, points)
        self._history.upserted(collection, [str(point.payload["frame"]) for point in points])
        self._death.at("between points and events")

    async def delete(self, collection: str, where: Filter) -> None:
        await self._inner.delete(collection, where)
        frames = [str(value) for match in where.must if match.field == "frame" for value in match.any_of]
        self._history.deleted(collection, frames)


def recorded_transport(transport: Transport, history: History, death: Death) -> Transport:
    return cast("Transport", _Transport(transport, history, death))


def recorded_index(index: Index, history: History, death: Death) -> Index:
    return cast("Index", _Index(index, history, death))
