"""Backpressure across topics is lag: a lossless source pauses while those who work on its frames are behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.clock import Clock
from streams.transport import Transport

_LOOK_AGAIN_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Lossless:
    """Give it to `ingest` as `backpressure`. It pauses at `most_records` of lag and goes on at half of it.

    `watched` are the plan's groups, each with the topics that it reads; the lag is that of all together. The
    difference keeps it from stopping and starting with every batch. A group that nobody has joined yet lags by
    everything there is: start a worker, or ingest without this.
    """

    transport: Transport
    watched: Mapping[str, Sequence[str]]
    most_records: int
    clock: Clock

    async def __call__(self) -> None:
        """Return when there is room for more. Raises Unavailable, PlanError."""
        if await self._lag() < self.most_records:
            return
        while await self._lag() > self.most_records // 2:
            await self.clock.sleep(_LOOK_AGAIN_SECONDS)

    async def _lag(self) -> int:
        lags = [await self.transport.group_lag(group, topics) for group, topics in self.watched.items()]
        return sum(sum(lag.values()) for lag in lags)
