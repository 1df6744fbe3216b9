"""Backpressure across topics is lag: a lossless source pauses while the plan's workers are behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.clock import Clock
from streams.transport import Transport

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class LagBackpressure:
    """The `backpressure` of `ingest`: pauses at a lag of `max_records`, resumes at half of it.

    `topics_by_group` are the plan's groups, each with the topics that it reads; the lag is the sum of theirs. Two
    limits keep the source from stopping and starting with every batch. The lag of a group without members is the whole
    topic: start a worker, or ingest without backpressure.
    """

    transport: Transport
    topics_by_group: Mapping[str, Sequence[str]]
    max_records: int
    clock: Clock

    async def __call__(self) -> None:
        """Return when there is room for more. Raises Unavailable, PlanError."""
        if await self._lag() < self.max_records:
            return
        while await self._lag() > self.max_records // 2:
            await self.clock.sleep(_POLL_SECONDS)

    async def _lag(self) -> int:
        lags = [await self.transport.group_lag(group, topics) for group, topics in self.topics_by_group.items()]
        return sum(sum(lag.values()) for lag in lags)
